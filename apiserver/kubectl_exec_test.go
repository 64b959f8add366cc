package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// echoContainer is a container whose every command prints itself and its input, and whose every port answers what it is sent.
type echoContainer struct{}

func (echoContainer) ExecInContainer(_ context.Context, _, _, container string, command []string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if _, err := fmt.Fprintf(out, "%s ran %s\n", container, strings.Join(command, " ")); err != nil {
		return err
	}
	if in == nil {
		return nil
	}
	_, err := io.Copy(out, in)
	return err
}

func (echoContainer) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	buffer := make([]byte, 100)
	n, err := stream.Read(buffer)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stream, "port %d heard %s", port, buffer[:n])
	return err
}

func streamingAgent(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/default/one/side", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `container not found ("side")`, http.StatusNotFound)
	})
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, echoContainer{}, "", "", r.PathValue("container"), r.URL.Query()["command"], options,
			time.Minute, time.Minute, remotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, echoContainer{}, r.PathValue("pod"), "", options, time.Minute, time.Minute, portforward.SupportedProtocols)
	})
	return mux
}

func TestKubectlExecAndPortForward(t *testing.T) {
	server := startServer(t, t.TempDir())
	startAgent(t, server, streamingAgent(t))
	server.walk(t, []kubectlStep{
		{command: "exec one -c main -- date -u", want: "main ran date -u"},
		{command: "exec one -c side -- date", want: `unable to upgrade connection: container not found ("side")`, fails: true},
		{command: "exec one -- date", want: "main ran date"}, // kubectl takes the first container itself
		{stdin: "typed in\n", command: "exec -i one -c main -- cat", want: "main ran cat\ntyped in\n"},
		{command: "exec one -c none -- date", want: "container none is not valid for pod one", fails: true},
	})
	program, err := exec.LookPath("kubectl")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "--kubeconfig", server.kubeconfig, "port-forward", "pod/one", ":8080")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems bytes.Buffer
	command.Stderr = &problems
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	if _, err := fmt.Fscanf(output, "Forwarding from %s -> 8080", &address); err != nil {
		t.Fatalf("%v\n%s", err, problems.String())
	}
	if got := ask(t, address, "hello"); got != "port 8080 heard hello" {
		t.Errorf("through the forwarded port: %q", got)
	}
	if err := command.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := command.Wait(); err == nil {
		t.Error("kubectl port-forward ended by itself")
	}
}
