package streaming

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/gorilla/websocket"
	clientportforward "k8s.io/client-go/tools/portforward"
	"k8s.io/cri-streaming/pkg/streaming/portforward"

	"github.com/kubelite/kubelite/internal/netns"
)

// tunnelProtocol is the WebSocket subprotocol within which kubectl speaks SPDY (KEP-4006).
const tunnelProtocol = "SPDY/3.1+portforward.k8s.io"

func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	namespace, err := s.pods.PodNetNS(r.PathValue("namespace"), r.PathValue("pod"))
	if err != nil {
		refuse(w, err)
		return
	}
	forward := forwarder{pod: r.PathValue("pod"), dial: netns.Dialer(namespace)}
	if websocket.IsWebSocketUpgrade(r) && slices.Contains(websocket.Subprotocols(r), tunnelProtocol) {
		serveTunnel(w, r, forward)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forward, forward.pod, "", options, idleTimeout, streamCreationTimeout, portforward.SupportedProtocols)
}

// serveTunnel takes the WebSocket for a plain connection and serves SPDY on it, as if the client had asked for that upgrade.
func serveTunnel(w http.ResponseWriter, r *http.Request, forward forwarder) {
	upgrader := websocket.Upgrader{
		Subprotocols: []string{tunnelProtocol},
		CheckOrigin:  func(*http.Request) bool { return true }, // the API server has seen to who may
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		slog.Error("accept websocket", "path", r.URL.Path, "error", err)
		return
	}
	tunnel := clientportforward.NewTunnelingConnection("agent", conn)
	defer tunnel.Close()
	inner := r.Clone(r.Context())
	inner.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"},
		"X-Stream-Protocol-Version": {portforward.ProtocolV1Name},
	}
	portforward.ServePortForward(&hijacked{conn: tunnel, header: http.Header{}}, inner, forward, forward.pod, "", &portforward.V4Options{},
		idleTimeout, streamCreationTimeout, portforward.SupportedProtocols)
}

// hijacked is the response to a request that was never sent: the upgrade has already happened.
type hijacked struct {
	conn   net.Conn
	header http.Header
}

func (h *hijacked) Header() http.Header            { return h.header }
func (h *hijacked) Write(data []byte) (int, error) { return len(data), nil }
func (h *hijacked) WriteHeader(int)                {}
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// forwarder joins a stream to a port of the Pod's loopback.
type forwarder struct {
	pod  string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// PortForward ends when both directions have; the client's end ends it only once the server's answer is through.
func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	address := net.JoinHostPort("localhost", strconv.Itoa(int(port)))
	conn, err := f.dial(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		var other error
		if conn, other = f.dial(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(int(port)))); other != nil {
			return fmt.Errorf("failed to connect to %s inside namespace of pod %q: %w", address, f.pod, err)
		}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			err = errors.Join(err, half.CloseWrite())
		}
		sent <- err
	}()
	_, err = io.Copy(stream, conn)
	if err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("forward port %d of pod %q: %w", port, f.pod, err)
	}
	return nil
}
