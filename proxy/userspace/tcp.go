package userspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// dialTimeouts are those of kube-proxy: an endpoint that does not answer in time is passed over for the next.
var dialTimeouts = []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

// acceptPause is how long no client is accepted when the process has no file descriptor left.
const acceptPause = 50 * time.Millisecond

// tcpSocket is a TCP socket. Its goroutine ends with close or the backend's context, each connection's two with the
// connection or that context.
type tcpSocket struct {
	*servicePort
	scope    scope
	listener *net.TCPListener
	stop     func() bool
}

// listenTCP opens a socket in the calling thread's network namespace.
func listenTCP(port *servicePort, scope scope, network string) (*tcpSocket, error) {
	listener, err := net.Listen(network, ":0")
	if err != nil {
		return nil, fmt.Errorf("open proxy port: %w", err)
	}
	s := &tcpSocket{servicePort: port, scope: scope, listener: listener.(*net.TCPListener)}
	s.stop = context.AfterFunc(port.ctx, func() { listener.Close() })
	go s.accept()
	return s, nil
}

func (s *tcpSocket) number() uint16 { return s.listener.Addr().(*net.TCPAddr).AddrPort().Port() }

// keep does nothing: an endpoint that goes closes its connections.
func (s *tcpSocket) keep([]netip.AddrPort) {}

func (s *tcpSocket) close() {
	s.stop()
	s.listener.Close()
}

func (s *tcpSocket) accept() {
	for {
		client, err := s.listener.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			slog.Error("accept a client", "service", s.name, "error", err)
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
		default:
			go s.proxy(client)
		}
	}
}

// proxy takes one client to an endpoint, until both have said all.
func (s *tcpSocket) proxy(client *net.TCPConn) {
	defer client.Close()
	endpoint, err := s.connect(client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
	if err != nil {
		slog.Warn("no endpoint takes a connection", "service", s.name, "error", err)
		if err := client.SetLinger(0); err != nil { // the client is to see a reset, not an end
			slog.Error("reset a client", "service", s.name, "error", err)
		}
		return
	}
	defer endpoint.Close()
	stop := context.AfterFunc(s.ctx, func() { client.Close(); endpoint.Close() })
	defer stop()
	var directions sync.WaitGroup
	directions.Go(func() { copyUntilEnd(endpoint, client) })
	directions.Go(func() { copyUntilEnd(client, endpoint) })
	directions.Wait()
}

// copyUntilEnd copies (by splice, in the kernel) until from has said all, and tells to. When one of them breaks off, so
// does the other direction.
func copyUntilEnd(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		to.Close()
		from.Close()
	}
}

// connect tries one endpoint after the other, and begins again when all have failed: the only one may be slow for once.
func (s *tcpSocket) connect(client netip.Addr) (*net.TCPConn, error) {
	var failed []netip.AddrPort
	var failures []error
	for _, timeout := range dialTimeouts {
		endpoint, ok := s.balancer.pick(s.scope, client, failed)
		if !ok {
			failed = nil
			endpoint, ok = s.balancer.pick(s.scope, client, nil)
		}
		if !ok {
			break
		}
		ctx, cancel := context.WithTimeout(s.ctx, timeout)
		conn, err := s.dial(ctx, "tcp", endpoint.String())
		cancel()
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		failed, failures = append(failed, endpoint), append(failures, err)
	}
	if len(failures) == 0 {
		return nil, errors.New("there is none")
	}
	return nil, errors.Join(failures...)
}
