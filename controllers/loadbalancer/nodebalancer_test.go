package loadbalancer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
)

func testNode(name, address string, change ...func(*corev1.Node)) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}, {Type: corev1.NodeHostName, Address: name}},

			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
		},
	}
	for _, f := range change {
		f(node)
	}
	return node
}

func listening(ports ...int32) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for _, port := range ports {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint(port), Port: port, Protocol: corev1.ProtocolTCP})
		}
	}
}

// nodeMode is a running controller in NodeMode.
type nodeMode struct {
	t      *testing.T
	api    *fake.Clientset
	events *record.FakeRecorder
}

func startNodeMode(t *testing.T) *nodeMode {
	excluded := func(node *corev1.Node) { node.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""} }
	m := &nodeMode{t, fake.NewClientset(
		testNode("node-1", "192.168.1.2"), testNode("node-2", "192.168.1.3"), testNode("node-3", "192.168.1.4", excluded),
	), record.NewFakeRecorder(100)}
	factory := informers.NewSharedInformerFactory(m.api, 0)
	c, err := New(m.api, factory, m.events, Config{Mode: NodeMode})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	factory.Start(ctx.Done())
	t.Cleanup(func() { stop(); <-done; factory.Shutdown() })
	factory.WaitForCacheSync(ctx.Done())
	return m
}

func (m *nodeMode) create(name string, change ...func(*corev1.Service)) {
	m.t.Helper()
	if _, err := m.api.CoreV1().Services("default").Create(m.t.Context(), service(name, change...), metav1.CreateOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

// shows waits until the Service has the addresses.
func (m *nodeMode) shows(name, want string) {
	m.t.Helper()
	got := ""
	for started := time.Now(); time.Since(started) < 20*time.Second; time.Sleep(time.Millisecond) {
		current, err := m.api.CoreV1().Services("default").Get(m.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			m.t.Fatal(err)
		}
		var addresses []string
		for _, ingress := range current.Status.LoadBalancer.Ingress {
			addresses = append(addresses, ingress.IP)
		}
		if got = strings.Join(addresses, " "); got == want {
			return
		}
	}
	m.t.Errorf("%s has %q, want %q", name, got, want)
}

func (m *nodeMode) event(want string) {
	m.t.Helper()
	for {
		select {
		case got := <-m.events.Events:
			if got == want {
				return
			}
		case <-time.After(20 * time.Second):
			m.t.Fatalf("no event %q", want)
		}
	}
}

func TestNodesAddresses(t *testing.T) {
	m := startNodeMode(t)
	m.create("web", listening(80, 443))
	m.event("Normal EnsuredLoadBalancer Ensured load balancer")
	m.shows("web", "192.168.1.2 192.168.1.3")

	m.create("second", listening(8080, 80))
	m.event("Warning SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: " +
		"80/TCP: port of the nodes is already in use: Service default/web has it")
	m.shows("second", "")
	m.create("udp", listening(80), func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP })
	m.shows("udp", "192.168.1.2 192.168.1.3")
	m.create("another", listening(80), func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("example.com/lb") })

	notReady := testNode("node-2", "192.168.1.3", func(node *corev1.Node) { node.Status.Conditions[0].Status = corev1.ConditionUnknown })
	if _, err := m.api.CoreV1().Nodes().UpdateStatus(t.Context(), notReady, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	m.event("Normal UpdatedLoadBalancer Updated load balancer with new hosts")
	m.shows("web", "192.168.1.2")
	if _, err := m.api.CoreV1().Nodes().Create(t.Context(), testNode("node-4", "192.168.1.5"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	m.shows("web", "192.168.1.2 192.168.1.5")

	if err := m.api.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	m.shows("second", "192.168.1.2 192.168.1.5")
	m.shows("another", "")
}

// A port of the nodes that something else has already is given to no Service, and a node port goes before.
func TestOccupiedPorts(t *testing.T) {
	m := startNodeMode(t)
	exposed := func(port int32) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Spec.Type, s.Spec.Ports = corev1.ServiceTypeNodePort, []corev1.ServicePort{{Port: 80, NodePort: port}}
		}
	}
	refused := func(port int, occupant string) {
		t.Helper()
		m.event(fmt.Sprintf("Warning SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: "+
			"%d/TCP: port of the nodes is already in use: %s", port, occupant))
	}
	m.create("agent", listening(443, 10250))
	refused(10250, "the nodes' agents have it")
	m.shows("agent", "")
	m.create("health", listening(10256))
	refused(10256, "the Service proxy has it for its health check")
	m.shows("health", "")

	m.create("exposed", exposed(30080))
	m.create("late", listening(30080))
	refused(30080, "Service default/exposed has it as a node port")
	m.shows("late", "")
	if err := m.api.CoreV1().Services("default").Delete(t.Context(), "exposed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	m.shows("late", "192.168.1.2 192.168.1.3")
	m.create("exposed", exposed(30080))
	refused(30080, "Service default/exposed has it as a node port")
	m.shows("late", "")

	m.create("checked", listening(8080), func(s *corev1.Service) { s.Spec.HealthCheckNodePort = 30090 })
	m.create("check", listening(30090))
	refused(30090, "Service default/checked has it as a node port")
	m.create("own", listening(30100), func(s *corev1.Service) { s.Spec.Ports[0].NodePort = 30100 })
	m.shows("own", "192.168.1.2 192.168.1.3")
}

func TestLocalTrafficNeedsLocalEndpoints(t *testing.T) {
	m := startNodeMode(t)
	m.create("web", listening(80), func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
	m.event("Warning UnAvailableLoadBalancer There are no available nodes for LoadBalancer")
	m.shows("web", "")
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Endpoints: []discoveryv1.Endpoint{
			{NodeName: ptr.To("node-1"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}},
			{NodeName: ptr.To("node-2"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}},
			{NodeName: ptr.To("node-3"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}},
		},
	}
	slice, err := m.api.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.shows("web", "192.168.1.3")
	slice = slice.DeepCopy()
	slice.Endpoints[0].Conditions.Ready = nil
	if _, err := m.api.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	m.shows("web", "192.168.1.2 192.168.1.3")
}
