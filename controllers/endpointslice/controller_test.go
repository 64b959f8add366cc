package endpointslice

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/slicing"
)

func TestSliceFollowsPods(t *testing.T) {
	ctx := t.Context()
	api := fake.NewClientset(testService(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
	watcher, err := api.DiscoveryV1().EndpointSlices("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(api, 0)
	c, err := New(api, factory)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { c.Run(running); close(done) }()
	factory.Start(running.Done())
	t.Cleanup(func() { stop(); <-done; factory.Shutdown() })
	factory.WaitForCacheSync(running.Done())
	// until waits for a slice in the given state; the deadline only ends a test that hangs.
	until := func(state string, reached func(*discoveryv1.EndpointSlice) bool) {
		t.Helper()
		for {
			select {
			case event := <-watcher.ResultChan():
				if slice, ok := event.Object.(*discoveryv1.EndpointSlice); ok && event.Type != watch.Deleted && reached(slice) {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("no slice %s", state)
			}
		}
	}
	until("without endpoints", func(slice *discoveryv1.EndpointSlice) bool { return len(slice.Endpoints) == 0 })
	pod := testPod("a", "10.244.0.2", unready)
	if _, err := api.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until("with an unready endpoint", func(slice *discoveryv1.EndpointSlice) bool {
		return len(slice.Endpoints) == 1 && !*slice.Endpoints[0].Conditions.Ready
	})
	ready := testPod("a", "10.244.0.2")
	if _, err := api.CoreV1().Pods("default").UpdateStatus(ctx, ready, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until("with a ready endpoint", func(slice *discoveryv1.EndpointSlice) bool {
		return len(slice.Endpoints) == 1 && *slice.Endpoints[0].Conditions.Ready && *slice.Ports[0].Port == 8080
	})
	if err := api.CoreV1().Pods("default").Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until("without endpoints", func(slice *discoveryv1.EndpointSlice) bool { return len(slice.Endpoints) == 0 })
}

// A Service that a finalizer keeps is served still: its slices go with its Pods. It gets no new ones.
func TestServicePendingDeletion(t *testing.T) {
	service := testService(func(service *corev1.Service) {
		service.DeletionTimestamp, service.Finalizers = ptr.To(metav1.Now()), []string{"example.com/hold"}
	})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	nodes := map[string]*corev1.Node{node.Name: node}
	pods := []*corev1.Pod{testPod("a", "10.244.0.2"), testPod("b", "10.244.0.3")}
	written := slicing.Plan(ownerOf(service), membersOf(service, pods, nodes), nil).Create[0]
	written.Name = "web-1"
	for name, test := range map[string]struct {
		existing []runtime.Object
		want     string
	}{
		"with a slice": {[]runtime.Object{written}, "[10.244.0.3]"},
		"without":      {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			api := fake.NewClientset(append(test.existing, service, node, pods[1])...)
			factory := informers.NewSharedInformerFactory(api, 0)
			c, err := New(api, factory)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			t.Cleanup(func() { stop(); factory.Shutdown() })
			factory.Start(ctx.Done())
			factory.WaitForCacheSync(ctx.Done())
			if err := c.sync(ctx, "default/web"); err != nil {
				t.Fatal(err)
			}
			list, err := api.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var addresses []string
			for _, slice := range list.Items {
				for _, endpoint := range slice.Endpoints {
					addresses = append(addresses, fmt.Sprint(endpoint.Addresses))
				}
			}
			if got := strings.Join(addresses, " "); got != test.want || len(list.Items) != len(test.existing) {
				t.Errorf("%d slices with %s, want %s", len(list.Items), got, test.want)
			}
		})
	}
}
