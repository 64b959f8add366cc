package loadbalancer

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
)

func service(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func TestHandsOutAndTakesBack(t *testing.T) {
	ctx := t.Context()
	holder := service("holder", func(s *corev1.Service) {
		s.Finalizers = []string{cleanupFinalizer} // nothing is left to do for it, or to say
		s.Status.LoadBalancer = statusWith(netip.MustParseAddr("192.168.1.200"))
	})
	others := service("others", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("example.com/lb") })
	api := fake.NewClientset(holder, others)
	factory := informers.NewSharedInformerFactory(api, 0)
	pool, err := NewPool(netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("192.168.1.201"))
	if err != nil {
		t.Fatal(err)
	}
	events := record.NewFakeRecorder(100)
	c, err := New(api, factory, events, Config{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { c.Run(running); close(done) }()
	factory.Start(running.Done())
	t.Cleanup(func() { stop(); <-done; factory.Shutdown() })
	factory.WaitForCacheSync(running.Done())
	event := func(prefix string) {
		t.Helper()
		for {
			select {
			case got := <-events.Events:
				if strings.HasPrefix(got, prefix) {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("no event %q", prefix)
			}
		}
	}
	address := func(name string) string {
		t.Helper()
		got, err := api.CoreV1().Services("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Status.LoadBalancer.Ingress) == 0 {
			return ""
		}
		return got.Status.LoadBalancer.Ingress[0].IP
	}
	create := func(s *corev1.Service) {
		t.Helper()
		if _, err := api.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create(service("first"))
	event("Normal EnsuredLoadBalancer Ensured load balancer")
	if got := address("first"); got != "192.168.1.201" {
		t.Errorf("first got %q: the holder's address is read back", got)
	}
	create(service("second"))
	event("Warning SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: no address of the load balancer pool is free")
	if err := api.CoreV1().Services("default").Delete(ctx, "holder", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	event("Normal EnsuredLoadBalancer")
	if got := address("second"); got != "192.168.1.200" {
		t.Errorf("second got %q", got)
	}
	current, err := api.CoreV1().Services("default").Get(ctx, "first", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	current.Spec.Type = corev1.ServiceTypeClusterIP
	if _, err := api.CoreV1().Services("default").Update(ctx, current, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	event("Normal Type LoadBalancer -> ClusterIP")
	event("Normal DeletedLoadBalancer")
	if got := address("first"); got != "" {
		t.Errorf("first still has %q", got)
	}
	if got := address("others"); got != "" {
		t.Errorf("another class's Service got %q", got)
	}
}
