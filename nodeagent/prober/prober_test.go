package prober

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// target is a container whose Pod is this machine's loopback.
func target() *Target {
	return &Target{ContainerID: "c", PodIP: "127.0.0.1", Container: &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 1}}}}
}

func portOf(t *testing.T, address string) int {
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(parsed.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != userAgent {
			t.Errorf("user agent %q", r.UserAgent())
		}
		switch r.URL.Path {
		case "/header":
			if r.Header.Get("X-Who") != "me" || r.Host != "other.example" {
				w.WriteHeader(http.StatusTeapot)
			}
		case "/away":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/bad":
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	port := portOf(t, server.URL)
	prober := New(nil)
	for _, test := range []struct {
		path    string
		success bool
		message string
	}{
		{"/ok", true, ""}, {"/ok?a=b", true, ""}, {"/here", true, ""}, {"/bad", false, "HTTP probe failed with statuscode: 500"},
		{"/header", true, ""}, {"/away", true, "Probe terminated redirects, Response body: <a href=\"http://elsewhere.invalid/\">Found</a>.\n\n"},
	} {
		probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: test.path, Port: intstr.FromInt(port),
			HTTPHeaders: []v1.HTTPHeader{{Name: "X-Who", Value: "me"}, {Name: "Host", Value: "other.example"}}}}}
		got := prober.once(t.Context(), target(), probe)
		if got.success != test.success || got.message != test.message || got.err != nil {
			t.Errorf("%s: got %+v", test.path, got)
		}
	}
	server.Close()
	got := prober.once(t.Context(), target(), &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/", Port: intstr.FromInt(port)}}})
	if want := fmt.Sprintf(`Get "http://127.0.0.1:%d/": dial tcp 127.0.0.1:%d: connect: connection refused`, port, port); got.message != want {
		t.Errorf("got %q, want %q", got.message, want)
	}
}

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(port)}}}
	if got := New(nil).once(t.Context(), target(), probe); !got.success {
		t.Errorf("got %+v", got)
	}
	listener.Close()
	if got := New(nil).once(t.Context(), target(), probe); got.success || got.message != fmt.Sprintf("dial tcp 127.0.0.1:%d: connect: connection refused", port) {
		t.Errorf("got %+v", got)
	}
	probe.TCPSocket.Port = intstr.FromString("nameless")
	if got := New(nil).once(t.Context(), target(), probe); got.err == nil || got.err.Error() != `couldn't find port: "nameless" in container: c` {
		t.Errorf("got %+v", got)
	}
}

func TestExec(t *testing.T) {
	prober := New(func(ctx context.Context, id string, command []string) ([]byte, int, error) {
		switch command[0] {
		case "true":
			return []byte("fine"), 0, nil
		case "false":
			return []byte("not there"), 1, nil
		case "sleep":
			<-ctx.Done()
			return nil, -1, ctx.Err()
		}
		return nil, 0, errors.New("no such container")
	})
	for command, want := range map[string]verdict{
		"true": {success: true}, "false": {message: "not there"}, "sleep": {message: `command timed out: "sleep 9" timed out after 1s`},
		"gone": {err: errors.New("no such container")},
	} {
		probe := &v1.Probe{TimeoutSeconds: 1, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: strings.Fields(command)}}}
		if command == "sleep" {
			probe.Exec.Command = []string{"sleep", "9"}
		}
		got := prober.once(t.Context(), target(), probe)
		if got.success != want.success || got.message != want.message || fmt.Sprint(got.err) != fmt.Sprint(want.err) {
			t.Errorf("%s: got %+v, want %+v", command, got, want)
		}
	}
}

func TestGRPC(t *testing.T) {
	status := uint64(1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		message := binary.AppendUvarint([]byte{1 << 3}, status)
		frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
		if _, err := w.Write(frame); err != nil {
			t.Error(err)
		}
		w.Header().Set("Grpc-Status", "0")
	})
	server := httptest.NewUnstartedServer(handler)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols = &protocols
	server.Start()
	defer server.Close()
	probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: int32(portOf(t, server.URL)), Service: ptr.To("svc")}}}
	if got := New(nil).once(t.Context(), target(), probe); !got.success {
		t.Errorf("got %+v", got)
	}
	status = 2
	if got := New(nil).once(t.Context(), target(), probe); got.message != `service unhealthy (responded with "NOT_SERVING")` {
		t.Errorf("got %+v", got)
	}
}

func TestThresholdsAndStartup(t *testing.T) {
	answers := make(chan int)
	prober := New(func(ctx context.Context, _ string, command []string) ([]byte, int, error) {
		if command[0] != "readiness" {
			return nil, 0, nil
		}
		select {
		case code := <-answers:
			return []byte("no"), code, nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	})
	handler := func(name string) v1.ProbeHandler {
		return v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{name}}}
	}
	results := make(chan string, 10)
	subject := target()
	subject.Container.StartupProbe = &v1.Probe{PeriodSeconds: 1, ProbeHandler: handler("startup")}
	subject.Container.ReadinessProbe = &v1.Probe{PeriodSeconds: 1, TimeoutSeconds: 20, FailureThreshold: 2, ProbeHandler: handler("readiness")}
	subject.Started = time.Now()
	unhealthy := make(chan string, 10)
	subject.Unhealthy = func(message string) { unhealthy <- message }
	subject.Warning = func(string) {}
	subject.Result = func(kind Kind, success bool) { results <- fmt.Sprintf("%s %v", kind, success) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	prober.Start(ctx, *subject)
	for _, step := range []struct {
		answer int
		want   string
	}{{0, "readiness true"}, {1, ""}, {1, "readiness false"}, {0, "readiness true"}} {
		if step.want == "readiness true" && len(results) == 0 && step.answer == 0 {
			select {
			case first := <-results:
				if first != "startup true" {
					t.Fatalf("first result %q", first)
				}
			default:
			}
		}
		answers <- step.answer
		if step.want == "" {
			if got := <-unhealthy; got != "Readiness probe failed: no" {
				t.Errorf("got %q", got)
			}
			continue
		}
		got := <-results
		if got == "startup true" {
			got = <-results
		}
		if got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

func TestFirstProbeIsRepeated(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls < 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	subject := target()
	subject.Started = time.Now()
	subject.Container.ReadinessProbe = &v1.Probe{PeriodSeconds: 1000, ProbeHandler: v1.ProbeHandler{
		HTTPGet: &v1.HTTPGetAction{Path: "/", Port: intstr.FromInt(portOf(t, server.URL))}}}
	subject.Unhealthy = func(message string) { t.Errorf("reported %q", message) }
	ready := make(chan bool, 1)
	subject.Result = func(_ Kind, success bool) { ready <- success }
	New(nil).Start(t.Context(), *subject)
	if !<-ready {
		t.Error("not ready")
	}
}

// A container that an agent found ready before this one stays ready until its probe has failed often enough.
func TestReadyBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		p := New(func(context.Context, string, []string) ([]byte, int, error) {
			probes++
			return nil, 1, nil
		})
		var said []string
		p.Start(t.Context(), Target{
			ContainerID: "c", Ready: true, Started: time.Now(),
			Container: &v1.Container{Name: "c", ReadinessProbe: &v1.Probe{PeriodSeconds: 1, FailureThreshold: 3, TimeoutSeconds: 1,
				ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"false"}}}}},
			Unhealthy: func(string) {}, Warning: func(string) {},
			Result: func(kind Kind, success bool) { said = append(said, fmt.Sprint(kind, " ", success, " after ", probes)) },
		})
		time.Sleep(3500 * time.Millisecond) // of the bubble's clock
		synctest.Wait()
		if fmt.Sprint(said) != "[readiness false after 3]" {
			t.Error(said)
		}
	})
}
