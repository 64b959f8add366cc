package proxy

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kubelite/kubelite/proxy/health"
	"github.com/kubelite/kubelite/proxy/plan"
)

// logged is what the default logger writes while the test runs.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	var text bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &text
}

// Whoever looks at the log later sees what the proxy waits for, and not each of its attempts.
func TestWaitForANodeComplainsAgain(t *testing.T) {
	text := logged(t)
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		var trouble atomic.Value
		trouble.Store("connection refused")
		client.PrependReactor("get", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			if trouble := trouble.Load().(string); trouble != "" {
				return true, nil, errors.New(trouble)
			}
			return true, &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.1.2"}}}}, nil
		})
		found := make(chan error, 1)
		go func() {
			_, err := FindNodeIPs(t.Context(), client, "node-1")
			found <- err
		}()
		time.Sleep(65 * time.Second) // 0, 10, ..., 60; longer than nodeTimeout
		synctest.Wait()
		if count := strings.Count(text.String(), "connection refused"); count != 7 {
			t.Errorf("%d complaints in 65 s, expected 7:\n%s", count, text)
		}
		trouble.Store("no route to host")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if count := strings.Count(text.String(), "no route to host"); count != 1 {
			t.Errorf("another trouble is named %d times, expected once and at once", count)
		}
		trouble.Store("")
		if err := <-found; err != nil {
			t.Error(err)
		}
	})
}

// A real client's errors, which wrap one another.
func TestRemedies(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewTLSServer(http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) { response.WriteHeader(status) }))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for _, test := range []struct {
		about    string
		tls      rest.TLSClientConfig
		status   int
		expected string
	}{
		{"another name", rest.TLSClientConfig{ServerName: "elsewhere", CAData: authority}, http.StatusOK, "a name or address that its certificate is valid for"},
		{"another authority", rest.TLSClientConfig{}, http.StatusOK, "certificate-authority-data"},
		{"an unknown account", rest.TLSClientConfig{Insecure: true}, http.StatusUnauthorized, "does not know the kubeconfig's account"},
		{"no right", rest.TLSClientConfig{Insecure: true}, http.StatusForbidden, "system:node-proxier"},
		{"busy", rest.TLSClientConfig{Insecure: true}, http.StatusInternalServerError, ""},
	} {
		status = test.status
		client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, TLSClientConfig: test.tls})
		if err != nil {
			t.Fatal(err)
		}
		_, err = getNode(context.Background(), client, "node-1")
		remedy := remedyFor(err)
		if err == nil || (remedy == "") != (test.expected == "") || !strings.Contains(remedy, test.expected) {
			t.Errorf("%s: %v: remedy %q, expected %q", test.about, err, remedy, test.expected)
		}
	}
}

// Rules and listeners are for the addresses that the node had when the proxy began.
func TestChangedNodeIPsEndTheProxy(t *testing.T) {
	node := func(addresses ...string) *corev1.Node {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
		for _, address := range addresses {
			node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
		}
		return node
	}
	began := []netip.Addr{netip.MustParseAddr("192.168.1.2")}
	for _, test := range []struct {
		node   *corev1.Node
		ofNode bool
		want   string
	}{
		{node: node("192.168.1.2"), ofNode: true},
		{node: node(), ofNode: true}, // a Node that an agent is registering anew
		{node: node("192.168.1.9")},  // the flags said where to serve
		{node: node("192.168.1.9", "fd00::9"), ofNode: true,
			want: "run service proxy: the addresses of node node-1 were [192.168.1.2] and are [192.168.1.9 fd00::9]: start again with these"},
	} {
		ctx, end := context.WithCancelCause(t.Context())
		p := &proxy{config: Config{NodeIPs: began, NodeIPsOfNode: test.ofNode}, end: end,
			objects: newObjects(plan.Node{Name: "node-1"}, func(changed, int) {}), health: health.NewProxy()}
		p.setNode(test.node)
		got := ""
		if err := changedIPs(ctx); err != nil {
			got = err.Error()
		}
		if got != test.want || (ctx.Err() != nil) != (test.want != "") {
			t.Errorf("%v: %q instead of %q", test.node.Status.Addresses, got, test.want)
		}
		end(nil)
	}
}
