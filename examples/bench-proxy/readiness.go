package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// readiness is how long after the API's answer the last of two nodes leads a Service's client otherwise.
type readiness struct{ ready, gone sample }

// measureReadiness makes one Pod Ready and deletes it, again and again, on two nodes whose proxies serve all Services. The
// server's EndpointSlice controller is on the way. There is no kubelet: the benchmark writes the Pod's status itself.
func (b *bench) measureReadiness(ctx context.Context, v variant) (r *readiness, err error) {
	var nodes []*node
	for number := range 2 {
		n, err := b.lab.addNode(1 + number)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, n.close()) }()
		nodes = append(nodes, n)
		p, err := b.startProxy(ctx, n, v)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.stop()) }()
		if _, err := p.syncedSince(ctx, histogram{}); err != nil {
			return nil, err
		}
	}
	b.extra++
	name := fmt.Sprintf("ready-%d", b.extra)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: endpointPort}}}}
	created, err := b.load.client.CoreV1().Services(namespaceOfAll).Create(ctx, service, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create Service %s: %w", name, err)
	}
	address, err := netip.ParseAddr(created.Spec.ClusterIP)
	if err != nil {
		return nil, err
	}
	r = &readiness{}
	heartbeat := time.Time{}
	for range b.options.pods {
		if time.Since(heartbeat) > heartbeatInterval {
			if err := b.beat(ctx); err != nil {
				return nil, err
			}
			heartbeat = time.Now()
		}
		if err := b.readyAndGone(ctx, nodes, name, netip.AddrPortFrom(address, endpointPort), r); err != nil {
			return nil, err
		}
	}
	return r, b.load.client.CoreV1().Services(namespaceOfAll).Delete(ctx, name, metav1.DeleteOptions{})
}

// podsNode is the Node of the Pods: it exists in the API only.
const podsNode = "bench-pods"

// heartbeatInterval is far below the 40 s after which a Node is taken for dead.
const heartbeatInterval = 10 * time.Second

// beat makes the Pods' Node be there and Ready.
func (b *bench) beat(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: podsNode}}
	if _, err := b.load.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create Node %s: %w", podsNode, err)
	}
	now := metav1.Now()
	return patchNodeStatus(ctx, b.load.client, podsNode, corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now}}})
}

func (b *bench) readyAndGone(ctx context.Context, nodes []*node, name string, service netip.AddrPort, r *readiness) error {
	pods := b.load.client.CoreV1().Pods(namespaceOfAll)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: podsNode, Containers: []corev1.Container{{Name: "none", Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Pod: %w", err)
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.80.0.1", PodIPs: []corev1.PodIP{{IP: "10.80.0.1"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	err = untilAll(ctx, nodes, &r.ready, func() error { _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); return err },
		func() (time.Time, bool) { return open(service) })
	if err != nil {
		return fmt.Errorf("wait for a Ready Pod: %w", err)
	}
	now := int64(0)
	err = untilAll(ctx, nodes, &r.gone, func() error { return pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}) },
		func() (time.Time, bool) { return gone(service) })
	if err != nil {
		return fmt.Errorf("wait for a deleted Pod: %w", err)
	}
	return nil
}

// untilAll makes a call, and adds the time from its answer until the clients of all nodes see its effect: 0 if they see it
// before the answer.
func untilAll(ctx context.Context, nodes []*node, s *sample, call func() error, visible probe) error {
	group, probing := errgroup.WithContext(ctx)
	seen := make([]time.Time, len(nodes))
	for i, n := range nodes {
		group.Go(func() error {
			return netns.Do(n.client, func() (err error) {
				seen[i], err = visible.until(probing)
				return err
			})
		})
	}
	err := call()
	answered := time.Now()
	if err != nil {
		group.Go(func() error { return err }) // ends the probes
	}
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	last := time.Duration(0)
	for _, at := range seen {
		last = max(last, at.Sub(answered))
	}
	s.add(last)
	return nil
}
