package dns

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// sockets are the open addresses of the server.
type sockets struct {
	udp           net.PacketConn
	tcp           net.Listener
	health, ready net.Listener
}

func listen(config Config) (s sockets, err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.udp, err = net.ListenPacket("udp", config.Listen); err != nil {
		return s, err
	}
	if s.tcp, err = net.Listen("tcp", config.Listen); err != nil {
		return s, err
	}
	if s.health, err = net.Listen("tcp", config.HealthListen); err != nil {
		return s, err
	}
	s.ready, err = net.Listen("tcp", config.ReadyListen)
	return s, err
}

func (s sockets) close() {
	if s.udp != nil {
		s.udp.Close()
	}
	for _, listener := range []net.Listener{s.tcp, s.health, s.ready} {
		if listener != nil {
			listener.Close()
		}
	}
}

// serve serves on all sockets until ctx is done or one of them breaks.
func (s sockets) serve(ctx context.Context, handler *handler) error {
	defer s.close()
	broken := make(chan error, 4)
	for _, server := range []*dns.Server{{PacketConn: s.udp, Handler: handler}, {Listener: s.tcp, Handler: handler}} {
		go func() { broken <- server.ActivateAndServe() }()
	}
	for _, probe := range []struct {
		listener net.Listener
		path     string
		healthy  func() bool
	}{{s.health, "/health", func() bool { return true }}, {s.ready, "/ready", handler.synced}} {
		server := &http.Server{Handler: status(probe.path, probe.healthy), ReadHeaderTimeout: 5 * time.Second}
		go func() { broken <- server.Serve(probe.listener) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-broken:
		if err == nil || errors.Is(err, net.ErrClosed) {
			return errors.New("a socket was closed")
		}
		return err
	}
}

// status answers OK at path, or 503 while it is not healthy, as CoreDNS' health and ready do.
func status(path string, healthy func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(writer http.ResponseWriter, _ *http.Request) {
		if !healthy() {
			http.Error(writer, "not all Services are known yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = writer.Write([]byte("OK")) // a prober that hung up needs no answer
	})
	return mux
}
