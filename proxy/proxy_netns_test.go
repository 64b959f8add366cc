package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func (l *lab) createService(name, clusterIP string, change func(*corev1.Service)) {
	l.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{
			Type:      corev1.ServiceTypeClusterIP,
			ClusterIP: clusterIP,
			Ports:     []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	if change != nil {
		change(service)
	}
	if _, err := l.api.CoreV1().Services("default").Create(context.Background(), service, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
}

// setEndpoints makes the addresses the endpoints of the Service, on port 8080.
func (l *lab) setEndpoints(service string, protocol corev1.Protocol, addresses ...string) {
	l.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: service + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To[int32](8080), Protocol: &protocol}},
	}
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, NodeName: ptr.To("node-1")})
	}
	client := l.api.DiscoveryV1().EndpointSlices("default")
	_, err := client.Create(context.Background(), slice, metav1.CreateOptions{})
	if err != nil {
		_, err = client.Update(context.Background(), slice, metav1.UpdateOptions{})
	}
	if err != nil {
		l.Fatal(err)
	}
}

func nodePort(port int32) func(*corev1.Service) {
	return func(service *corev1.Service) {
		service.Spec.Type = corev1.ServiceTypeNodePort
		service.Spec.Ports[0].NodePort = port
	}
}

// answers waits until a call from the namespace to address is answered by the Pod.
func (l *lab) answers(path, address, pod string) {
	l.Helper()
	l.eventually(func() error {
		actual, _, err := call(path, address)
		if err == nil && actual != pod {
			err = fmt.Errorf("%s answered, expected %s", actual, pod)
		}
		return err
	})
}

// refuses waits until a call from the namespace to address is refused.
func (l *lab) refuses(path, address string) {
	l.Helper()
	l.eventually(func() error {
		if _, _, err := call(path, address); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("call %s: %v, expected to be refused", address, err)
		}
		return nil
	})
}

// gets waits until an HTTP request from the client is answered with the status and a body that holds text.
func (l *lab) gets(url string, status int, text string) {
	l.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: netns.Dialer(l.client), DisableKeepAlives: true}, Timeout: time.Second}
	l.eventually(func() error {
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && (response.StatusCode != status || !strings.Contains(string(body), text)) {
			err = fmt.Errorf("get %s: %d %s, expected %d with %s", url, response.StatusCode, body, status, text)
		}
		return err
	})
}

func TestNetnsServices(t *testing.T) {
	l := newLab(t)
	l.serveTCP(l.podA, "a", 8080)
	l.serveTCP(l.podB, "b", 8080)
	stop := l.startProxy(IPTables)

	t.Run("a ClusterIP leads to all endpoints", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("web", "10.96.1.1", nil)
		l.setEndpoints("web", corev1.ProtocolTCP, podA, podB)
		l.answers(l.podA, "10.96.1.1:80", "a")
		l.answers(l.podA, "10.96.1.1:80", "b")
	})
	t.Run("a Pod is seen with its own address, but by itself", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		sources := map[string]string{}
		l.eventually(func() error {
			pod, source, err := call(l.podA, "10.96.1.1:80")
			if err != nil {
				return err
			}
			sources[pod] = source
			if len(sources) < 2 {
				return errWrong
			}
			return nil
		})
		if sources["b"] != podA || sources["a"] != "10.244.0.1" {
			t.Errorf("b saw %s, expected %s; a saw %s, expected the node's 10.244.0.1", sources["b"], podA, sources["a"])
		}
	})
	t.Run("a caller outside the cluster is masqueraded", func(t *testing.T) {
		if _, source, err := call(l.client, "10.96.1.1:80"); err != nil || source != "10.244.0.1" {
			t.Errorf("source %s, error %v", source, err)
		}
	})
	t.Run("a node port on all of the node's addresses", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("kubia", "10.96.1.2", nodePort(30123))
		l.setEndpoints("kubia", corev1.ProtocolTCP, podB)
		l.answers(l.client, "192.168.1.2:30123", "b")
		l.answers(l.podA, "192.168.1.2:30123", "b")
		l.answers(l.node, "192.168.1.2:30123", "b")
		l.answers(l.node, "127.0.0.1:30123", "b")
		if _, source, err := call(l.client, "192.168.1.2:30123"); err != nil || source != "10.244.0.1" {
			t.Errorf("source %s, error %v", source, err)
		}
	})
	t.Run("a load balancer's address", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("balanced", "10.96.1.3", func(service *corev1.Service) {
			service.Spec.Type = corev1.ServiceTypeLoadBalancer
			service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.100.0.200"}}
		})
		l.setEndpoints("balanced", corev1.ProtocolTCP, podA)
		l.answers(l.client, "10.100.0.200:80", "a")
		l.answers(l.podB, "10.100.0.200:80", "a")
	})
	t.Run("no endpoints, refused at once", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("empty", "10.96.1.4", nodePort(30124))
		l.refuses(l.podA, "10.96.1.4:80")
		l.refuses(l.node, "10.96.1.4:80")
		l.refuses(l.client, "192.168.1.2:30124")
		l.setEndpoints("empty", corev1.ProtocolTCP, podB)
		l.answers(l.podA, "10.96.1.4:80", "b")
		l.answers(l.client, "192.168.1.2:30124", "b")
		l.setEndpoints("empty", corev1.ProtocolTCP)
		l.refuses(l.podA, "10.96.1.4:80")
	})
	t.Run("externalTrafficPolicy Local keeps the caller's address", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("kept", "10.96.1.6", func(service *corev1.Service) {
			nodePort(30126)(service)
			service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		})
		l.setEndpoints("kept", corev1.ProtocolTCP, podB)
		l.answers(l.client, "192.168.1.2:30126", "b")
		if _, source, err := call(l.client, "192.168.1.2:30126"); err != nil || source != "192.168.1.10" {
			t.Errorf("source %s, error %v", source, err)
		}
	})
	t.Run("loadBalancerSourceRanges", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("ranged", "10.96.1.7", func(service *corev1.Service) {
			service.Spec.Type = corev1.ServiceTypeLoadBalancer
			service.Spec.LoadBalancerSourceRanges = []string{"10.244.0.0/16"}
			service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.100.0.201"}}
		})
		l.setEndpoints("ranged", corev1.ProtocolTCP, podA)
		l.answers(l.podB, "10.100.0.201:80", "a")
		var timeout net.Error
		if _, _, err := call(l.client, "10.100.0.201:80"); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("a caller outside the range: %v, expected no answer", err)
		}
	})
	t.Run("a load balancer asks for the node's endpoints", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("checked", "10.96.1.8", func(service *corev1.Service) {
			service.Spec.Type = corev1.ServiceTypeLoadBalancer
			service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			service.Spec.HealthCheckNodePort = 32008
		})
		l.setEndpoints("checked", corev1.ProtocolTCP, podA, podB)
		l.gets("http://192.168.1.2:32008/", 200, `"localEndpoints": 2`)
		l.setEndpoints("checked", corev1.ProtocolTCP)
		l.gets("http://192.168.1.2:32008/", 503, `"localEndpoints": 0`)
		if err := l.api.CoreV1().Services("default").Delete(context.Background(), "checked", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		l.refuses(l.client, "192.168.1.2:32008")
	})
	t.Run("the proxy says how it is", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.gets("http://192.168.1.2:10256/healthz", 200, `"nodeEligible":true`)
		l.gets("http://192.168.1.2:10256/livez", 200, `"healthy":true`)
		l.gets("http://192.168.1.2:10249/metrics", 200, `kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"}`)
		l.gets("http://192.168.1.2:10249/metrics", 200, `kubeproxy_sync_proxy_rules_iptables_total{ip_family="IPv4",table="nat"} `)
		l.gets("http://192.168.1.2:10249/metrics", 200, `kubeproxy_sync_proxy_rules_iptables_last{ip_family="IPv4",table="filter"} `)
		l.gets("http://192.168.1.2:10249/proxyMode", 200, "iptables")
		setTaints := func(taints ...corev1.Taint) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Spec: corev1.NodeSpec{Taints: taints}}
			if _, err := l.api.CoreV1().Nodes().Update(context.Background(), node, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		setTaints(corev1.Taint{Key: "ToBeDeletedByClusterAutoscaler"})
		l.gets("http://192.168.1.2:10256/healthz", 503, `"nodeEligible":false`)
		l.gets("http://192.168.1.2:10256/livez", 200, `"healthy":true`)
		setTaints()
		l.gets("http://192.168.1.2:10256/healthz", 200, `"nodeEligible":true`)
	})
	t.Run("a ClusterIP does not answer ping, and a node port is no socket", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		conn, err := netns.ListenPacket(l.podA, "ip4:icmp", "0.0.0.0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // its checksum is right
		if _, err := conn.WriteTo(echo, &net.IPAddr{IP: net.IPv4(10, 96, 1, 1)}); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 128)
		for {
			_, from, err := conn.ReadFrom(buffer)
			if err != nil {
				break
			}
			if buffer[0] == 0 {
				t.Errorf("%s answered a ping to a ClusterIP", from)
			}
		}
		listener, err := netns.Listen(l.node, "tcp4", ":30123")
		if err != nil {
			t.Fatalf("the node port's number is taken: %v", err)
		}
		listener.Close()
	})
	t.Run("session affinity", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.createService("sticky", "10.96.1.5", func(service *corev1.Service) {
			service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		})
		l.setEndpoints("sticky", corev1.ProtocolTCP, podA, podB)
		var first string
		l.eventually(func() (err error) { first, _, err = call(l.client, "10.96.1.5:80"); return err })
		for range 30 {
			if pod, _, err := call(l.client, "10.96.1.5:80"); err != nil || pod != first {
				t.Fatalf("%s answered, before it was %s (error %v)", pod, first, err)
			}
		}
	})
	t.Run("rules that someone else deleted come back", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		l.in(l.node, func() error { return exec.Command("iptables", "-t", "nat", "-F", "KUBE-SERVICES").Run() })
		l.answers(l.podA, "10.96.1.2:80", "b")
		l.in(l.node, func() error { return exec.Command("iptables", "-t", "nat", "-F").Run() })
		l.answers(l.podA, "10.96.1.2:80", "b")
	})
	t.Run("rules outlive the proxy, and the next one goes on", func(t *testing.T) {
		l := &lab{t, l.client, l.node, l.podA, l.podB, l.api}
		stop()
		l.answers(l.podA, "10.96.1.2:80", "b")
		l.setEndpoints("kubia", corev1.ProtocolTCP, podA)
		l.startProxy(IPTables)
		l.answers(l.podA, "10.96.1.2:80", "a")
	})
}

// A client that keeps its port keeps its tracked connection; it must still follow the Service.
func TestNetnsUDPFollowsEndpoints(t *testing.T) {
	l := newLab(t)
	l.serveUDP(l.podA, podA, "a", 8080)
	l.serveUDP(l.podB, podB, "b", 8080)
	l.startProxy(IPTables)
	l.createService("dns", "10.96.1.1", func(service *corev1.Service) {
		nodePort(30053)(service)
		service.Spec.Ports[0].Protocol = corev1.ProtocolUDP
	})
	for from, address := range map[string]string{l.podA: "10.96.1.1:80", l.client: "192.168.1.2:30053", l.node: "10.96.1.1:80"} {
		conn, err := netns.Dialer(from)(context.Background(), "udp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		l.eventually(func() error {
			if _, err := ask(conn); !errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("ask %s without endpoints: %v", address, err)
			}
			return nil
		})
		for _, step := range []struct{ endpoint, expected string }{{podA, "a"}, {podB, "b"}, {podA, "a"}} {
			l.setEndpoints("dns", corev1.ProtocolUDP, step.endpoint)
			l.eventually(func() error {
				answer, err := ask(conn)
				if err == nil && answer != step.expected {
					err = fmt.Errorf("%s answered at %s, expected %s", answer, address, step.expected)
				}
				return err
			})
		}
		l.setEndpoints("dns", corev1.ProtocolUDP)
	}
}

// In mode userspace the kernel tracks a client's packets to the proxy only: an endpoint more is no reason to forget them.
func TestNetnsUserspaceKeepsUDPClients(t *testing.T) {
	l := newLab(t)
	l.serveUDP(l.podA, podA, "a", 8080)
	l.serveUDP(l.podB, podB, "b", 8080)
	l.startProxy(Userspace)
	l.createService("dns", "10.96.1.1", func(service *corev1.Service) { service.Spec.Ports[0].Protocol = corev1.ProtocolUDP })
	l.setEndpoints("dns", corev1.ProtocolUDP, podA)
	dial := func() net.Conn {
		conn, err := netns.Dialer(l.client)(context.Background(), "udp4", "10.96.1.1:80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	old := dial()
	l.eventually(func() error { _, err := ask(old); return err })
	l.setEndpoints("dns", corev1.ProtocolUDP, podA, podB)
	l.eventually(func() error { // until the new endpoint is known
		answer, err := ask(dial())
		if err == nil && answer != "b" {
			err = errors.New("b has not answered")
		}
		return err
	})
	l.in(l.node, func() error {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		if port := uint16(old.LocalAddr().(*net.UDPAddr).Port); !slices.ContainsFunc(flows, func(flow *netlink.ConntrackFlow) bool {
			return flow.Forward.Protocol == syscall.IPPROTO_UDP && flow.Forward.SrcPort == port
		}) {
			t.Errorf("the first client's packets are no longer tracked: %v", flows)
		}
		return err
	})
	for range 3 {
		if answer, err := ask(old); answer != "a" || err != nil {
			t.Errorf("the first client was answered by %q: %v", answer, err)
		}
	}
}
