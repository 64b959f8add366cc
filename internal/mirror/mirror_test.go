package mirror

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
)

// start mirrors Services and returns a channel of "name annotation" for each object that Changed is called with.
func start(t *testing.T, client kubernetes.Interface) (*Mirror, <-chan string) {
	t.Helper()
	changes := make(chan string, 100)
	m := New(client, client.CoreV1().Services(metav1.NamespaceAll), &corev1.Service{}, Options{
		Transform: func(object any) (any, error) {
			object.(*corev1.Service).Labels = nil
			return object, nil
		},
		Changed: func(object any) {
			service := object.(*corev1.Service)
			if service.Labels != nil {
				t.Errorf("%s still has labels", service.Name)
			}
			changes <- service.Name + " " + service.Annotations["version"]
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m, changes
}

func expect(t *testing.T, changes <-chan string, expected ...string) {
	t.Helper()
	for _, change := range expected {
		select {
		case actual := <-changes:
			if actual != change {
				t.Fatalf("%q changed, expected %q", actual, change)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q did not change", change)
		}
	}
}

func service(version string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web",
		Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"version": version}}}
}

func TestChanges(t *testing.T) {
	client := fake.NewClientset(service("1"))
	m, changes := start(t, client)
	expect(t, changes, "web 1")
	<-m.Synced()
	services, ctx := client.CoreV1().Services("default"), context.Background()
	if _, err := services.Update(ctx, service("2"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "web 1", "web 2")
	if _, exists, err := m.Objects().GetByKey("default/web"); !exists || err != nil {
		t.Errorf("exists %v, error %v", exists, err)
	}
	if err := services.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "web 2")
	if _, exists, err := m.Objects().GetByKey("default/web"); exists || err != nil {
		t.Errorf("exists %v, error %v", exists, err)
	}
}

// serve is an API server with one Service of that version, until the returned function is called.
func serve(t *testing.T, address, version string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		switch query := request.URL.Query(); {
		case query.Get("sendInitialEvents") != "":
			http.Error(writer, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
		case query.Get("watch") != "" && query.Get("resourceVersion") != version:
			http.Error(writer, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`, http.StatusGone)
		case query.Get("watch") != "":
			writer.(http.Flusher).Flush()
			<-request.Context().Done()
		default:
			io.WriteString(writer, fmt.Sprintf(`{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":%q},"items":[
				{"metadata":{"namespace":"default","name":"web","annotations":{"version":%q}}}]}`, version, version))
		}
	})}
	go server.Serve(listener)
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			server.Close()
		}
	}
	t.Cleanup(stop)
	return stop
}

// An API server that is not there yet, and one that went and came back without its history, is found again.
func TestAPIServerComesAndGoes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	m, changes := start(t, client)
	if m.HasSynced() {
		t.Error("synced with nobody")
	}
	stop := serve(t, address, "1")
	expect(t, changes, "web 1")
	stop()
	if objects := m.Objects().ListKeys(); len(objects) != 1 {
		t.Errorf("%d objects without an API server", len(objects))
	}
	serve(t, address, "2")
	expect(t, changes, "web 1", "web 2")
}
