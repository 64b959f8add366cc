package dns

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// freeAddress is one on 127.0.0.1 whose port nobody uses, for UDP or TCP.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := tcp.Addr().String()
		udp, err := net.ListenPacket("udp", address)
		tcp.Close()
		if err != nil {
			continue
		}
		udp.Close()
		return address
	}
}

// startServer serves what is in client and returns when it is ready.
func startServer(t *testing.T, client *fake.Clientset, upstreams ...string) (address string) {
	t.Helper()
	config := Config{Listen: freeAddress(t), HealthListen: freeAddress(t), ReadyListen: freeAddress(t), Upstreams: upstreams}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, client, config) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	awaitStatus(t, "http://"+config.HealthListen+"/health", http.StatusOK)
	awaitStatus(t, "http://"+config.ReadyListen+"/ready", http.StatusOK)
	return config.Listen
}

// startUpstream is a resolver that answers everything with 192.0.2.1, big.example.com. with more than fits UDP.
func startUpstream(t *testing.T) (address string) {
	t.Helper()
	address = freeAddress(t)
	handler := dns.HandlerFunc(func(writer dns.ResponseWriter, request *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(request)
		count := 1
		if request.Question[0].Name == "big.example.com." {
			count = 200
		}
		for i := range count {
			reply.Answer = append(reply.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: request.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   net.IPv4(192, 0, 2, byte(i+1)),
			})
		}
		if _, udp := writer.RemoteAddr().(*net.UDPAddr); udp {
			reply.Truncate(udpSize)
		}
		if err := writer.WriteMsg(reply); err != nil {
			t.Error(err)
		}
	})
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		server := &dns.Server{Addr: address, Net: network, Handler: handler, NotifyStartedFunc: func() { close(started) }}
		go func() {
			if err := server.ListenAndServe(); err != nil {
				t.Error(err)
			}
		}()
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	return address
}

func ask(t *testing.T, network, address, name string, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	request := new(dns.Msg)
	request.SetQuestion(name, dns.TypeA)
	if change != nil {
		change(request)
	}
	client := dns.Client{Net: network, Timeout: 20 * time.Second}
	reply, _, err := client.Exchange(request, address)
	if err != nil {
		t.Fatalf("%s over %s: %v", name, network, err)
	}
	return reply
}

// cluster has the Service web, and the headless Service many with 100 endpoints.
func cluster() *fake.Clientset {
	many := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "many-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: "many"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for i := range 100 {
		many.Endpoints = append(many.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.0.%d", i+2)}})
	}
	return fake.NewClientset(
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec:       corev1.ServiceSpec{ClusterIP: "10.96.1.1", Ports: []corev1.ServicePort{{Port: 80}}},
		},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "many"},
			Spec:       corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{{Port: 80}}},
		},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "outside"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "www.example.com"},
		},
		many)
}

func TestServer(t *testing.T) {
	address := startServer(t, cluster())
	for _, network := range []string{"udp", "tcp"} {
		reply := ask(t, network, address, "Web.default.svc.cluster.local.", nil)
		if len(reply.Answer) != 1 || reply.Answer[0].Header().Name != "Web.default.svc.cluster.local." || !reply.Authoritative || !reply.RecursionAvailable {
			t.Errorf("over %s: %s", network, reply)
		}
	}
	if reply := ask(t, "udp", address, "www.example.com.", nil); reply.Rcode != dns.RcodeNameError || reply.Authoritative {
		t.Errorf("a name outside, without an upstream: %s", reply)
	}

	const many = "many.default.svc.cluster.local."
	reply := ask(t, "udp", address, many, nil)
	reply.Compress = true // as it was sent
	if !reply.Truncated || reply.Len() > dns.MinMsgSize {
		t.Errorf("%d bytes without EDNS0, truncated %v", reply.Len(), reply.Truncated)
	}
	reply = ask(t, "udp", address, many, func(request *dns.Msg) { request.SetEdns0(4096, true) })
	if option := reply.IsEdns0(); !reply.Truncated || option == nil || option.UDPSize() != udpSize || !option.Do() {
		t.Errorf("with EDNS0: truncated %v, option %v", reply.Truncated, option)
	}
	if reply = ask(t, "tcp", address, many, nil); len(reply.Answer) != 100 || reply.Truncated {
		t.Errorf("%d answers over TCP", len(reply.Answer))
	}

	for about, test := range map[string]struct {
		change func(*dns.Msg)
		rcode  int
	}{
		"EDNS1":         {func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		"class CHAOS":   {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		"zone transfer": {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		"notify":        {func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
	} {
		if reply := ask(t, "udp", address, "web.default.svc.cluster.local.", test.change); reply.Rcode != test.rcode {
			t.Errorf("%s: %s, expected %s", about, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
		}
	}
}

func TestServerForwards(t *testing.T) {
	address := startServer(t, cluster(), freeAddress(t), startUpstream(t)) // nobody listens at the first
	reply := ask(t, "udp", address, "www.example.com.", nil)
	if len(reply.Answer) != 1 || reply.Authoritative || !reply.RecursionAvailable {
		t.Errorf("forwarded: %s", reply)
	}
	if reply = ask(t, "tcp", address, "big.example.com.", nil); len(reply.Answer) != 200 {
		t.Errorf("%d answers to what does not fit UDP", len(reply.Answer))
	}
	reply = ask(t, "udp", address, "outside.default.svc.cluster.local.", nil)
	if len(reply.Answer) != 2 || reply.Answer[0].Header().Rrtype != dns.TypeCNAME || reply.Answer[1].Header().Name != "www.example.com." {
		t.Errorf("an alias to outside: %s", reply)
	}
	if reply = ask(t, "udp", address, "nothing.default.svc.cluster.local.", nil); reply.Rcode != dns.RcodeNameError {
		t.Errorf("a name of the cluster was forwarded: %s", reply)
	}
}

func TestServerWithDeadUpstream(t *testing.T) {
	address := startServer(t, cluster(), freeAddress(t))
	if reply := ask(t, "udp", address, "www.example.com.", nil); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("%s", reply)
	}
	reply := ask(t, "udp", address, "outside.default.svc.cluster.local.", nil)
	if reply.Rcode != dns.RcodeServerFailure || len(reply.Answer) != 1 {
		t.Errorf("an alias that cannot be followed: %s", reply)
	}
}

func TestServerFollowsServices(t *testing.T) {
	client := cluster()
	address := startServer(t, client)
	added := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "late"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.1.2", Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if _, err := client.CoreV1().Services("default").Create(context.Background(), added, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		reply := ask(t, "udp", address, "late.default.svc.cluster.local.", nil)
		if len(reply.Answer) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s", reply)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Before everything is known nobody can say that a name does not exist.
func TestUnsyncedServerFails(t *testing.T) {
	h := &handler{zone: zone{domain: "cluster.local."}, records: newRecords(t, clusterObjects), synced: func() bool { return false }}
	request := new(dns.Msg)
	request.SetQuestion("web.default.svc.cluster.local.", dns.TypeA)
	if reply := h.reply(request); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("%s", reply)
	}
}
