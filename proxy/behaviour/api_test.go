package behaviour

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/apiserver"
	"github.com/kubelite/kubelite/internal/pki"
)

// api is the real API server, on loopback in this process. It can go and come back.
type api struct {
	testing.TB
	*kubernetes.Clientset
	config  *rest.Config
	dataDir string
	address string
	stop    func() // does nothing while it is away
}

// newAPI starts an API server that ends with the test.
func newAPI(t testing.TB) *api {
	t.Helper()
	a := &api{TB: t, dataDir: t.TempDir(), address: "127.0.0.1:0", stop: func() {}}
	authority := a.start()
	pair, err := authority.IssueClient("system:kube-proxy", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	a.config = &rest.Config{
		Host: "https://" + a.address,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: authority.CertificatePEM(), CertData: pair.CertificatePEM, KeyData: pair.KeyPEM,
		},
		QPS:            -1,
		WarningHandler: rest.NoWarnings{}, // of externalIPs
	}
	if a.Clientset, err = kubernetes.NewForConfig(a.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.stop() })
	return a
}

// start starts the server where it was before, with what it held.
func (a *api) start() *pki.Authority {
	a.Helper()
	listener, err := net.Listen("tcp", a.address)
	if err != nil {
		a.Fatal(err)
	}
	a.address = listener.Addr().String()
	server, err := apiserver.New(apiserver.Config{DataDir: a.dataDir, Listeners: []net.Listener{listener}, Seed: 1,
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:60::/108")}})
	if err != nil {
		a.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	a.stop = func() {
		a.stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			a.Errorf("the API server ended with: %v", err)
		}
	}
	<-server.Ready()
	return server.Authority()
}

// create creates the Service with its slices, and gives a load balancer its addresses.
func (a *api) create(ctx context.Context, service *corev1.Service, endpointSlices ...*discoveryv1.EndpointSlice) error {
	created, err := a.CoreV1().Services(service.Namespace).Create(ctx, service, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Service %s: %w", service.Name, err)
	}
	if len(service.Status.LoadBalancer.Ingress) > 0 {
		created.Status = service.Status
		if _, err := a.CoreV1().Services(service.Namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("update status of Service %s: %w", service.Name, err)
		}
	}
	for _, slice := range endpointSlices {
		if _, err := a.DiscoveryV1().EndpointSlices(slice.Namespace).Create(ctx, slice, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create EndpointSlice %s: %w", slice.Name, err)
		}
	}
	return nil
}

// createNodes creates the Nodes of the lab, each in a zone of its own.
func (a *api) createNodes() {
	a.Helper()
	for _, node := range []place{node1, node2} {
		object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: string(node), Labels: map[string]string{corev1.LabelTopologyZone: node.zone()}}}
		if _, err := a.CoreV1().Nodes().Create(a.Context(), object, metav1.CreateOptions{}); err != nil {
			a.Fatal(err)
		}
	}
}

// forEach does it for each of n, some at a time.
func (a *api) forEach(n int, do func(i int) error) {
	a.Helper()
	var group sync.WaitGroup
	numbers, failures := make(chan int), make(chan error, n)
	for range 8 {
		group.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					failures <- err
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	group.Wait()
	close(failures)
	for err := range failures {
		a.Fatal(err)
	}
}
