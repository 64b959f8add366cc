package behaviour

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/proxy"
)

// proxyVariable in the environment makes the test binary a proxy. Its standard input is one line with its settings, and as long
// as it is open the proxy runs: it ends with its test, however that ends.
const proxyVariable = "KUBELITE_BEHAVIOUR_PROXY"

// settings are a proxy's Config as it can be sent to another process.
type settings struct {
	proxy.Config
	Host            string
	TLSClientConfig rest.TLSClientConfig
}

func TestMain(m *testing.M) {
	if os.Getenv(proxyVariable) == "" {
		os.Exit(m.Run())
	}
	if err := runProxy(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runProxy() error {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	var s settings
	if err := json.Unmarshal(line, &s); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	s.RestConfig = &rest.Config{Host: s.Host, TLSClientConfig: s.TLSClientConfig, QPS: -1}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, input) // until the test closes it, or ends
		cancel()
	}()
	return proxy.Run(ctx, s.Config)
}

// proxyProcess is a proxy of its own process.
type proxyProcess struct {
	testing.TB
	command *exec.Cmd
	input   io.WriteCloser
	log     *logBuffer
	ended   chan error
	killed  bool
}

// startProxy starts the node's proxy. It ends with the test, if it was not stopped or killed before.
func (l *lab) startProxy(a *api, v variant, node place) *proxyProcess {
	l.Helper()
	s := settings{Config: v.config(), Host: a.config.Host, TLSClientConfig: a.config.TLSClientConfig}
	s.NodeName, s.NetNS = string(node), l.path(node)
	s.NodeIPs = []netip.Addr{node.address(corev1.IPv4Protocol), node.address(corev1.IPv6Protocol)}
	encoded, err := json.Marshal(s)
	if err != nil {
		l.Fatal(err)
	}
	p := &proxyProcess{TB: l, command: exec.Command("/proc/self/exe"), log: &logBuffer{}, ended: make(chan error, 1)}
	p.command.Env = append(os.Environ(), proxyVariable+"=1", v.environment(l.TB))
	p.command.Stdout, p.command.Stderr = p.log, p.log
	if p.input, err = p.command.StdinPipe(); err != nil {
		l.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		l.Fatal(err)
	}
	go func() { p.ended <- p.command.Wait() }()
	if _, err := p.input.Write(append(encoded, '\n')); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		p.stop()
		if l.Failed() && !p.killed {
			l.Logf("log of the %s proxy on %s:\n%s", v.name, node, p.log)
		}
	})
	return p
}

// stop ends the proxy as its node's agent would, and waits for it. It may have ended before.
func (p *proxyProcess) stop() {
	p.Helper()
	if p.command == nil {
		return
	}
	p.input.Close()
	select {
	case err := <-p.ended:
		if err != nil {
			p.Errorf("the proxy ended with: %v\n%s", err, p.log)
		}
	case <-time.After(slowly(time.Minute)):
		p.command.Process.Kill()
		p.Errorf("the proxy did not end: %v", <-p.ended)
	}
	p.command = nil
}

// kill ends the proxy at once, wherever it is, and waits for its end.
func (p *proxyProcess) kill() {
	p.Helper()
	if err := p.command.Process.Kill(); err != nil {
		p.Fatalf("kill the proxy: %v\n%s", err, p.log)
	}
	<-p.ended
	p.command, p.killed = nil, true
}

// logBuffer collects what a process writes.
type logBuffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.text.String()
}
