package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestProxy(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	p := NewProxy()
	p.now = func() time.Time { return now }
	answered := map[string]int{}
	p.Answered = func(path string, status int) { answered[path] = status }
	expect := func(about string, healthz, livez int) {
		t.Helper()
		for path, status := range map[string]int{"/healthz": healthz, "/livez": livez} {
			recorder := httptest.NewRecorder()
			p.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
			if recorder.Code != status || answered[path] != status {
				t.Errorf("%s: %s answers %d and counts %d, expected %d: %s", about, path, recorder.Code, answered[path], status, recorder.Body)
			}
			if kind := recorder.Header().Get("Content-Type"); kind != "application/json" || !json.Valid(recorder.Body.Bytes()) {
				t.Errorf("%s: %s %q", about, kind, recorder.Body)
			}
		}
	}
	expect("no node known", 503, 200)
	node := &corev1.Node{}
	p.SetNode(node)
	expect("nothing programmed yet", 503, 200)
	p.Updated(corev1.IPv4Protocol)
	p.Programmed()
	expect("programmed", 200, 200)
	p.Queued(corev1.IPv4Protocol)
	now = now.Add(Timeout - time.Second)
	p.Queued(corev1.IPv4Protocol)
	expect("a change waits", 200, 200)
	now = now.Add(time.Second)
	expect("it waits too long", 503, 503)
	p.Taken(corev1.IPv4Protocol)
	p.Queued(corev1.IPv4Protocol)
	expect("it is being programmed, and the next one waits", 503, 503)
	p.Taken(corev1.IPv4Protocol) // what was taken before went wrong
	expect("both are being programmed", 503, 503)
	p.Queued(corev1.IPv4Protocol)
	p.Updated(corev1.IPv4Protocol)
	expect("programmed, and a third one waits", 200, 200)
	now = now.Add(Timeout)
	expect("that waits too long, too", 503, 503)
	p.Taken(corev1.IPv4Protocol)
	p.Updated(corev1.IPv4Protocol)
	expect("programmed again", 200, 200)
	node.Spec.Taints = []corev1.Taint{{Key: toBeDeletedTaint}}
	p.SetNode(node)
	expect("the node is to be deleted", 503, 200)
	p.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: now}}})
	expect("the node is being deleted", 503, 200)
	p.SetNode(nil)
	expect("the node is gone", 503, 200)

	recorder := httptest.NewRecorder()
	p.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	const body = `{"lastUpdated":"2026-11-21T12:02:00Z","currentTime":"2026-11-21T12:02:00Z","nodeEligible":false,"healthy":true,` +
		`"status":{"IPv4":{"lastUpdated":"2026-11-21T12:02:00Z","healthy":true}}}`
	if recorder.Body.String() != body {
		t.Errorf("%s\nexpected %s", recorder.Body, body)
	}
}

// A machine that is no node has none of the node-port addresses: nobody can ask it, and it does not complain.
func TestServicesWithoutAnAddress(t *testing.T) {
	var addresses []netip.Addr
	s := &Services{
		Network:      "tcp4",
		Addresses:    func() ([]netip.Addr, error) { return addresses, nil },
		ProxyHealthy: func() bool { return true },
		Refused:      func(_ types.NamespacedName, _ uint16, err error) { t.Errorf("refused: %v", err) },
	}
	defer s.Close()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s.Set(lb, &Service{Port: uint16(port), LocalEndpoints: 1})
	s.Retry()
	if actual := ask(port); actual != "nobody" {
		t.Errorf("without an address %s answers", actual)
	}
	addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	s.Retry()
	if actual := ask(port); !strings.HasPrefix(actual, "200 1 ") {
		t.Errorf("with an address %s answers", actual)
	}
}

var lb = types.NamespacedName{Namespace: "default", Name: "lb"}

func ask(port int) string {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/anything", port))
	if err != nil {
		return "nobody"
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(response.StatusCode, " ", response.Header.Get("X-Load-Balancing-Endpoint-Weight"), " ", response.Header.Get("Content-Type"), " ",
		response.Header.Get("X-Content-Type-Options"), " ", string(body))
}

func TestServices(t *testing.T) {
	holder, err := net.Listen("tcp4", "127.0.0.1:0") // as long as it listens, its port is taken
	if err != nil {
		t.Fatal(err)
	}
	port := holder.Addr().(*net.TCPAddr).Port
	healthy := true
	var refused []string
	s := &Services{
		Network:      "tcp4",
		Addresses:    func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil },
		ProxyHealthy: func() bool { return healthy },
		Refused: func(service types.NamespacedName, port uint16, err error) {
			var operation *net.OpError
			refused = append(refused, fmt.Sprint(service, " ", errors.As(err, &operation)))
		},
	}
	defer s.Close()
	s.Set(lb, &Service{Port: uint16(port), LocalEndpoints: 2})
	s.Set(lb, &Service{Port: uint16(port), LocalEndpoints: 2})
	s.Retry()
	if fmt.Sprint(refused) != "[default/lb true]" {
		t.Errorf("refused %v", refused)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	s.Retry()
	const header, text = " application/json nosniff ", "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"lb\"\n\t},\n\t\"localEndpoints\": %d,\n\t\"serviceProxyHealthy\": %v\n}"
	for _, test := range []struct {
		endpoints int
		healthy   bool
		status    int
	}{{2, true, 200}, {0, true, 503}, {1, false, 503}, {1, true, 200}} {
		healthy = test.healthy
		s.Set(lb, &Service{Port: uint16(port), LocalEndpoints: test.endpoints})
		expected := fmt.Sprint(test.status, " ", test.endpoints, header, fmt.Sprintf(text, test.endpoints, test.healthy))
		if actual := ask(port); actual != expected {
			t.Errorf("%s\nexpected %s", actual, expected)
		}
	}
	s.Set(lb, nil)
	if actual := ask(port); actual != "nobody" {
		t.Errorf("after its end %s answers", actual)
	}
}
