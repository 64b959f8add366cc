package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/examples/classroom"
	"github.com/kubelite/kubelite/internal/netns"
)

// settle is how long an idle cluster is left alone before its memory is measured.
const settle = 15 * time.Second

func measureMemory(ctx context.Context, room *classroom.Classroom, memory *sample) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
	}
	var output strings.Builder
	if err := room.Kubelite(ctx, &output, "status", "-o", "json"); err != nil {
		return err
	}
	var status struct{ Memory int64 }
	if err := json.Unmarshal([]byte(output.String()), &status); err != nil {
		return err
	}
	memory.add(float64(status.Memory) / (1 << 20))
	return nil
}

// manifest is a Deployment on the first node and its Service.
const manifest = `apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      nodeSelector: {kubernetes.io/hostname: node-1}
      containers: [{name: kubia, image: luksa/kubia}]
`

func measureDeployments(ctx context.Context, room *classroom.Classroom, count int, ready, reachable *sample) error {
	config, err := clientcmd.BuildConfigFromFlags("", room.Kubeconfig())
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	other := netns.Dialer(lab.DefaultNetwork(room.Name, 2).NodeList()[1].NetNS)
	for i := range count + 1 { // the first one fills the caches and is not counted
		name := fmt.Sprintf("bench-%d", i)
		first, second := ready, reachable
		if i == 0 {
			first, second = &sample{}, &sample{}
		}
		if err := measureDeployment(ctx, room, client, other, name, first, second); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func measureDeployment(ctx context.Context, room *classroom.Classroom, client kubernetes.Interface,
	dial func(context.Context, string, string) (net.Conn, error), name string, ready, reachable *sample) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	service, deployment, _ := strings.Cut(strings.ReplaceAll(manifest, "NAME", name), "---\n")
	if err := room.Apply(ctx, service); err != nil {
		return err
	}
	found, err := client.CoreV1().Services("default").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	watcher, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	start := time.Now()
	applied := make(chan error, 1)
	go func() { applied <- room.Apply(ctx, deployment) }()
	if err := untilReady(ctx, watcher); err != nil {
		return err
	}
	ready.since(start)
	start = time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		conn, err := dial(attempt, "tcp4", net.JoinHostPort(found.Spec.ClusterIP, "80"))
		cancel()
		if err == nil {
			reachable.since(start)
			conn.Close()
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	if err := <-applied; err != nil {
		return err
	}
	return client.AppsV1().Deployments("default").Delete(ctx, name, metav1.DeleteOptions{})
}

func untilReady(ctx context.Context, watcher watch.Interface) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the Pod is not Ready: %w", ctx.Err())
		case event, open := <-watcher.ResultChan():
			if !open {
				return errors.New("the watch ended")
			}
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			for _, condition := range pod.Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
					return nil
				}
			}
		}
	}
}
