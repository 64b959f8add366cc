package streaming

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/utils/exec"

	"github.com/kubelite/kubelite/nodeagent/pods"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// onePod has the Pod default/web with the container main, which uses this process's network.
type onePod struct{ log string }

func (p onePod) check(pod, container string) error {
	if pod != "web" || container != "main" {
		return fmt.Errorf("look up: %w", &pods.NotFoundError{})
	}
	return nil
}

func (p onePod) ContainerLog(_, pod, container string, previous bool) (pods.Log, error) {
	if previous {
		return pods.Log{}, errors.New(`previous terminated container "main" in pod "web" not found`)
	}
	ended := make(chan struct{})
	close(ended)
	return pods.Log{Path: p.log, Ended: ended}, p.check(pod, container)
}

func (p onePod) RunningContainer(_, pod, container string) (pods.Process, error) {
	return pods.Process{ID: "id"}, p.check(pod, container)
}

func (p onePod) PodNetNS(_, pod string) (string, error) { return "", p.check(pod, "main") }

// echo is a runtime whose command copies its input to its output, and its arguments to its error output.
type echo struct{}

func (echo) Exec(_ context.Context, _ string, command []string, streams runtime.Streams) (int, error) {
	if streams.Stdin != nil {
		if _, err := io.Copy(streams.Stdout, streams.Stdin); err != nil {
			return 0, err
		}
	}
	if streams.Stderr != nil {
		fmt.Fprint(streams.Stderr, strings.Join(command, " "))
	}
	if streams.Resize != nil {
		size := <-streams.Resize
		fmt.Fprintf(streams.Stdout, "%dx%d", size.Width, size.Height)
	}
	switch command[0] {
	case "fail":
		return 7, nil
	case "broken":
		return 0, errors.New("no such file")
	}
	return 0, nil
}

func (e echo) Attach(ctx context.Context, id string, streams runtime.Streams) error {
	_, err := e.Exec(ctx, id, []string{"attached"}, streams)
	return err
}

func newServer(t *testing.T) *httptest.Server {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("2026-11-21T12:00:00Z stdout F one\n2026-11-21T12:00:01Z stdout F two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(New(onePod{path}, echo{}).Handler())
	t.Cleanup(server.Close)
	return server
}

func TestContainerLogs(t *testing.T) {
	server := newServer(t)
	for _, test := range []struct {
		path, want string
		code       int
	}{
		{"/containerLogs/default/web/main", "one\ntwo\n", 200},
		{"/containerLogs/default/web/main?tailLines=1&follow=true", "two\n", 200},
		{"/containerLogs/default/web/main?tailLines=0", "", 200},
		{"/containerLogs/default/web/main?limitBytes=2", "on", 200},
		{"/containerLogs/default/web/main?sinceTime=2026-11-21T12:00:01Z&timestamps=true", "2026-11-21T12:00:01.000000000Z two\n", 200},
		{"/containerLogs/default/web/main?previous=true", "previous terminated container \"main\" in pod \"web\" not found\n", 400},
		{"/containerLogs/default/web/main?tailLines=x", "invalid value \"x\" for tailLines: must be greater than or equal to 0\n", 422},
		{"/containerLogs/default/none/main", "look up: \n", 404},
		{"/healthz", "ok", 200},
	} {
		response, err := http.Get(server.URL + test.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != test.want || response.StatusCode != test.code {
			t.Errorf("%s: got %d %q, %v", test.path, response.StatusCode, body, err)
		}
	}
}

// executors are kubectl's two ways to run a command.
func executors(t *testing.T, server *httptest.Server, query string) map[string]remotecommand.Executor {
	address, err := url.Parse(server.URL + query)
	if err != nil {
		t.Fatal(err)
	}
	overSPDY, err := remotecommand.NewSPDYExecutor(&rest.Config{}, "POST", address)
	if err != nil {
		t.Fatal(err)
	}
	overWebSocket, err := remotecommand.NewWebSocketExecutor(&rest.Config{}, "GET", address.String())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"SPDY": overSPDY, "WebSocket v5": overWebSocket}
}

func TestExec(t *testing.T) {
	server := newServer(t)
	for _, test := range []struct{ query, output, errors, failure string }{
		{"command=say&command=hi", "typed", "say hi", ""},
		{"command=fail", "typed", "fail", "command terminated with exit code 7"},
		{"command=broken", "typed", "broken", "no such file"},
	} {
		for name, executor := range executors(t, server, "/exec/default/web/main?input=1&output=1&error=1&"+test.query) {
			var stdout, stderr bytes.Buffer
			err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("typed"), Stdout: &stdout, Stderr: &stderr})
			failure := fmt.Sprint(err)
			var exit utilexec.ExitError
			if errors.As(err, &exit) && exit.ExitStatus() != 7 {
				t.Errorf("%s: exit status %d", name, exit.ExitStatus())
			}
			if err == nil {
				failure = ""
			}
			if stdout.String() != test.output || stderr.String() != test.errors || !strings.Contains(failure, test.failure) || (failure == "") != (test.failure == "") {
				t.Errorf("%s %s: got %q, %q, %q", name, test.query, stdout.String(), stderr.String(), failure)
			}
		}
	}
}

// oneSize is a terminal of one size.
type oneSize struct{ sent bool }

func (s *oneSize) Next() *remotecommand.TerminalSize {
	if s.sent {
		return nil
	}
	s.sent = true
	return &remotecommand.TerminalSize{Width: 80, Height: 24}
}

func TestAttachWithTerminal(t *testing.T) {
	server := newServer(t)
	for name, executor := range executors(t, server, "/attach/default/web/main?output=1&tty=1") {
		var stdout bytes.Buffer
		err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &stdout, Tty: true, TerminalSizeQueue: &oneSize{}})
		if err != nil || stdout.String() != "80x24" {
			t.Errorf("%s: got %q, %v", name, stdout.String(), err)
		}
	}
}

func TestPortForward(t *testing.T) {
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from the pod") }))
	defer application.Close()
	_, port, err := net.SplitHostPort(application.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(t)
	address, err := url.Parse(server.URL + "/portForward/default/web")
	if err != nil {
		t.Fatal(err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(&rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(address, &rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	dialers := []func(forwarder **portforward.PortForwarder, stop, ready chan struct{}) error{
		func(forwarder **portforward.PortForwarder, stop, ready chan struct{}) (err error) {
			*forwarder, err = portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", address), []string{"0:" + port}, stop, ready, io.Discard, io.Discard)
			return err
		},
		func(forwarder **portforward.PortForwarder, stop, ready chan struct{}) (err error) {
			*forwarder, err = portforward.New(tunnel, []string{"0:" + port}, stop, ready, io.Discard, io.Discard)
			return err
		},
	}
	for i, dial := range dialers {
		stop, ready, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var forwarder *portforward.PortForwarder
		if err := dial(&forwarder, stop, ready); err != nil {
			t.Fatal(err)
		}
		go func() { done <- forwarder.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("way %d: %v", i, err)
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for range 3 {
			response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
			if err != nil {
				t.Fatalf("way %d: %v", i, err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || string(body) != "from the pod" {
				t.Errorf("way %d: got %q, %v", i, body, err)
			}
		}
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("way %d: %v", i, err)
		}
	}
}
