package nodeipam

import (
	"context"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
)

func TestAssignsAndFrees(t *testing.T) {
	ctx := t.Context()
	api := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.0.0/24"}})
	factory := informers.NewSharedInformerFactory(api, 0)
	ranges, err := NewRanges(netip.MustParsePrefix("10.244.0.0/23"), 24)
	if err != nil {
		t.Fatal(err)
	}
	events := record.NewFakeRecorder(10)
	c, err := New(api, factory, events, ranges)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { c.Run(running); close(done) }()
	factory.Start(running.Done())
	t.Cleanup(func() { stop(); <-done; factory.Shutdown() })
	factory.WaitForCacheSync(running.Done())
	watcher, err := api.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	assigned := func(name string) string {
		t.Helper()
		for {
			select {
			case event := <-watcher.ResultChan():
				if node, ok := event.Object.(*corev1.Node); ok && event.Type == watch.Modified && node.Name == name {
					return node.Spec.PodCIDR
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s gets no range", name)
			}
		}
	}
	for _, name := range []string{"node-1", "node-2"} {
		if _, err := api.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := assigned("node-1"); got != "10.244.1.0/24" {
		t.Errorf("node-1 got %s", got)
	}
	if event := <-events.Events; event != "Normal CIDRNotAvailable Node node-2 status is now: CIDRNotAvailable" {
		t.Error(event)
	}
	if err := api.CoreV1().Nodes().Delete(ctx, "old", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := assigned("node-2"); got != "10.244.0.0/24" {
		t.Errorf("node-2 got %s", got)
	}
}

func TestFreesTheRangeOfANodeThatWentMeanwhile(t *testing.T) {
	api := fake.NewClientset()
	ranges, err := NewRanges(netip.MustParsePrefix("10.244.0.0/24"), 24)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(api, informers.NewSharedInformerFactory(api, 0), record.NewFakeRecorder(10), ranges)
	if err != nil {
		t.Fatal(err)
	}
	only, err := c.reserve("gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.write(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, only); err != nil {
		t.Fatal(err)
	}
	if again, err := c.reserve("next"); err != nil || again != only {
		t.Errorf("the next node gets %v (%v), want %v", again, err, only)
	}
}
