package streaming

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kubelite/kubelite/nodeagent/pods"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// ClientName is the common name of the only certificate that is let in.
const ClientName = "kube-apiserver-kubelet-client"

// Pods tells what runs. *pods.Loop is the real one. A *pods.NotFoundError means that there is no such thing here.
type Pods interface {
	ContainerLog(namespace, pod, container string, previous bool) (pods.Log, error)
	RunningContainer(namespace, pod, container string) (pods.Process, error)
	PodNetNS(namespace, pod string) (string, error)
}

// Runtime is what the server needs of a runtime.Runtime.
type Runtime interface {
	Exec(ctx context.Context, id string, command []string, streams runtime.Streams) (exitCode int, err error)
	Attach(ctx context.Context, id string, streams runtime.Streams) error
}

const (
	idleTimeout           = 4 * time.Hour
	streamCreationTimeout = 30 * time.Second
)

// Server serves the agent's port. It has no state of its own.
type Server struct {
	pods    Pods
	runtime Runtime
}

// New returns a server for what pods says runs.
func New(pods Pods, runtime Runtime) *Server { return &Server{pods, runtime} }

// Handler serves all paths, without any authentication: Serve adds that.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", s.exec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", s.attach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	return mux
}

// Serve accepts TLS connections from clients with ClientName's certificate of one of the CAs until ctx is done.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificate tls.Certificate, clientCAs *x509.CertPool) error {
	server := &http.Server{
		Handler:           onlyClient(s.Handler()),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientCAs,
		},
		// An upgrade takes the connection over, which HTTP/2 has no way for.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return nil
}

func onlyClient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || r.TLS.VerifiedChains[0][0].Subject.CommonName != ClientName {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with an error of Pods.
func refuse(w http.ResponseWriter, err error) {
	var missing *pods.NotFoundError
	if errors.As(err, &missing) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	http.Error(w, err.Error(), http.StatusBadRequest)
}
