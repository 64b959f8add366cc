package dns

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"k8s.io/client-go/rest"
)

const emptySlices = `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[]}`

const oneService = `{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[
	{"metadata":{"namespace":"default","name":"web"},"spec":{"clusterIP":"10.96.1.1","ports":[{"port":80}]}}]}`

// apiServer answers lists once released is closed, and holds watches open.
func apiServer(released <-chan struct{}) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		query := request.URL.Query()
		writer.Header().Set("Content-Type", "application/json")
		switch {
		case query.Get("sendInitialEvents") != "": // as an API server that knows no streamed lists
			http.Error(writer, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
		case query.Get("watch") != "":
			writer.(http.Flusher).Flush()
			<-request.Context().Done()
		default:
			<-released
			if strings.Contains(request.URL.Path, "endpointslices") {
				io.WriteString(writer, emptySlices)
			} else {
				io.WriteString(writer, oneService)
			}
		}
	}))
}

func TestReadyWhenSyncedAndAnsweringWithoutAPI(t *testing.T) {
	released := make(chan struct{})
	api := apiServer(released)
	config := Config{
		RestConfig: &rest.Config{Host: api.URL},
		Listen:     freeAddress(t), HealthListen: freeAddress(t), ReadyListen: freeAddress(t),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, config) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	awaitStatus(t, "http://"+config.HealthListen+"/health", http.StatusOK)
	awaitStatus(t, "http://"+config.ReadyListen+"/ready", http.StatusServiceUnavailable)
	const web = "web.default.svc.cluster.local."
	if reply := ask(t, "udp", config.Listen, web, nil); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("before anything is known: %s", reply)
	}
	close(released)
	awaitStatus(t, "http://"+config.ReadyListen+"/ready", http.StatusOK)
	if reply := ask(t, "udp", config.Listen, web, nil); len(reply.Answer) != 1 {
		t.Errorf("%s", reply)
	}
	api.CloseClientConnections()
	api.Close()
	if reply := ask(t, "udp", config.Listen, web, nil); len(reply.Answer) != 1 {
		t.Errorf("without the API server: %s", reply)
	}
	awaitStatus(t, "http://"+config.ReadyListen+"/ready", http.StatusOK)
}

func awaitStatus(t *testing.T, url string, expected int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		response, err := http.Get(url)
		if err == nil {
			response.Body.Close()
		}
		if err == nil && response.StatusCode == expected {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v %v, expected %d", url, response, err, expected)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestConfigIsChecked(t *testing.T) {
	config := Config{ClusterDomain: "Cluster.Local.", Upstreams: []string{"192.168.1.1", "fd00::1", "192.168.1.1:5353"}}
	if err := config.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if config.ClusterDomain != "cluster.local" {
		t.Errorf("domain %s", config.ClusterDomain)
	}
	if upstreams := strings.Join(config.Upstreams, " "); upstreams != "192.168.1.1:53 [fd00::1]:53 192.168.1.1:5353" {
		t.Errorf("upstreams %s", upstreams)
	}
	config = Config{ClusterDomain: "a..b"}
	if err := config.setDefaults(); err == nil {
		t.Error("a..b was taken for a domain")
	}
}
