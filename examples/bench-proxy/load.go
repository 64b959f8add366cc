package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const (
	namespaceOfAll      = "default"
	endpointsPerService = 5
	creators            = 16 // API calls at once while Services are made
)

// load are the Services in the API server, number 0 and on.
type load struct {
	client kubernetes.Interface

	mutex    sync.Mutex
	services []netip.AddrPort // ClusterIP and port of each
}

func serviceName(number int) string { return fmt.Sprintf("service-%d", number) }

// grow makes Services until there are count, and returns how long each API call took.
func (l *load) grow(ctx context.Context, count int) (*sample, error) {
	took := &sample{}
	first := len(l.services)
	if count <= first {
		return took, nil
	}
	l.services = append(l.services, make([]netip.AddrPort, count-first)...)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for number := first; number < count; number++ {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			started := time.Now()
			if err := l.createSlice(ctx, number); err != nil {
				return err
			}
			between := time.Now()
			address, err := l.createService(ctx, number)
			l.mutex.Lock()
			defer l.mutex.Unlock()
			l.services[number] = address
			took.add(between.Sub(started))
			took.since(between)
			return err
		})
	}
	return took, group.Wait()
}

func (l *load) createService(ctx context.Context, number int) (netip.AddrPort, error) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: serviceName(number)},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	created, err := l.client.CoreV1().Services(namespaceOfAll).Create(ctx, service, metav1.CreateOptions{})
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("create Service %s: %w", service.Name, err)
	}
	address, err := netip.ParseAddr(created.Spec.ClusterIP)
	return netip.AddrPortFrom(address, 80), err
}

// slice is the EndpointSlice of a Service, with the change that triggered it now.
func slice(number int, addresses ...netip.Addr) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   serviceName(number) + "-bench",
			Labels: map[string]string{discoveryv1.LabelServiceName: serviceName(number), discoveryv1.LabelManagedBy: "bench-proxy"},
			Annotations: map[string]string{
				corev1.EndpointsLastChangeTriggerTime: time.Now().Format(time.RFC3339Nano),
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To[int32](endpointPort)}},
	}
	for i, address := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{address.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false)},
			NodeName:   ptr.To(fmt.Sprintf("node-%d", 1+i%2)),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespaceOfAll, Name: fmt.Sprintf("%s-%d", serviceName(number), i),
				UID: "5d1a3c8e-9f0b-4a57-8a39-d7d3a2a9a2f1"},
		})
	}
	return s
}

func endpointsOf(number int) []netip.Addr {
	var addresses []netip.Addr
	for i := range endpointsPerService {
		addresses = append(addresses, endpointAddress(number, i))
	}
	return addresses
}

func (l *load) createSlice(ctx context.Context, number int) error {
	_, err := l.client.DiscoveryV1().EndpointSlices(namespaceOfAll).Create(ctx, slice(number, endpointsOf(number)...), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create EndpointSlice of %s: %w", serviceName(number), err)
	}
	return nil
}

func (l *load) updateSlice(ctx context.Context, number int, addresses []netip.Addr) error {
	_, err := l.client.DiscoveryV1().EndpointSlices(namespaceOfAll).Update(ctx, slice(number, addresses...), metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("update EndpointSlice of %s: %w", serviceName(number), err)
	}
	return nil
}

func (l *load) deleteService(ctx context.Context, number int) error {
	err := l.client.CoreV1().Services(namespaceOfAll).Delete(ctx, serviceName(number), metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("delete Service %s: %w", serviceName(number), err)
	}
	return nil
}

func (l *load) deleteSlice(ctx context.Context, number int) error {
	err := l.client.DiscoveryV1().EndpointSlices(namespaceOfAll).Delete(ctx, slice(number).Name, metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("delete EndpointSlice of %s: %w", serviceName(number), err)
	}
	return nil
}
