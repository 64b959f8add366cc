package health

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"k8s.io/apimachinery/pkg/types"
)

// Service is one that load balancers ask for.
type Service struct {
	// Port is its healthCheckNodePort.
	Port uint16
	// LocalEndpoints counts the ready endpoints on this node.
	LocalEndpoints int
}

// Services serves the health-check node ports of one address family. Its methods may be called concurrently.
type Services struct {
	// Network is tcp4 or tcp6.
	Network string
	// NetNS is the path of the network namespace to listen in; empty for the process's own.
	NetNS string
	// Addresses returns the node's addresses to listen on: the unspecified one for all.
	Addresses func() ([]netip.Addr, error)
	// ProxyHealthy says whether the proxy keeps up with what it is told.
	ProxyHealthy func() bool
	// Refused is told that a Service's port cannot be listened on; nil for nobody.
	Refused func(service types.NamespacedName, port uint16, err error)

	mutex   sync.Mutex
	servers map[types.NamespacedName]*server
}

// server answers for one Service.
type server struct {
	name    types.NamespacedName
	healthy func() bool
	servers []listening // empty while its port is refused, or the node has none of the addresses

	mutex   sync.Mutex
	service Service
}

// listening is a web server with what it listens on, which it knows itself only from a moment after its start on.
type listening struct {
	*http.Server
	net.Listener
}

// Set makes the health check of the Service say so; nil ends it. A port that is taken is reported to Refused once, and tried
// again by each Retry. With no address to listen on, as on a machine that is no node, it is served nowhere, and nobody is told.
func (s *Services) Set(name types.NamespacedName, service *Service) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	current := s.servers[name]
	if current != nil && (service == nil || current.service.Port != service.Port) {
		current.close()
		delete(s.servers, name)
		current = nil
	}
	switch {
	case service == nil:
		return
	case current != nil:
		current.mutex.Lock()
		current.service = *service
		current.mutex.Unlock()
		return
	}
	current = &server{name: name, healthy: s.ProxyHealthy, service: *service}
	if s.servers == nil {
		s.servers = map[types.NamespacedName]*server{}
	}
	s.servers[name] = current
	if err := s.listen(current); err != nil {
		slog.Error("serve the health check of a Service; trying again", "service", name, "port", service.Port, "error", err)
		if s.Refused != nil {
			s.Refused(name, service.Port, err)
		}
	}
}

// Retry tries again to listen on the ports that were taken, and on addresses that the node had not.
func (s *Services) Retry() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for name, server := range s.servers {
		if len(server.servers) == 0 && s.listen(server) == nil && len(server.servers) > 0 {
			slog.Info("serving the health check of a Service, whose port is free now", "service", name, "port", server.service.Port)
		}
	}
}

// Names are those of the Services that have a health check, in no order.
func (s *Services) Names() []types.NamespacedName {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Collect(maps.Keys(s.servers))
}

// Close ends all health checks.
func (s *Services) Close() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, server := range s.servers {
		server.close()
	}
	s.servers = nil
}

// listen serves on all addresses or, with an error, on none. No address is no error, as in kube-proxy: nobody can ask there.
func (s *Services) listen(server *server) error {
	addresses, err := s.Addresses()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		listener, err := netns.Listen(s.NetNS, s.Network, netip.AddrPortFrom(address, server.service.Port).String())
		if err != nil {
			server.close()
			return err
		}
		server.serve(listener)
	}
	return nil
}

func (s *server) serve(listener net.Listener) {
	web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, listening{web, listener})
	go func() { // ends with close
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("serve the health check of a Service", "service", s.name, "error", err)
		}
	}()
}

func (s *server) close() {
	for _, web := range s.servers {
		err := web.Server.Close()
		if other := web.Listener.Close(); !errors.Is(other, net.ErrClosed) {
			err = errors.Join(err, other)
		}
		if err != nil {
			slog.Error("end the health check of a Service", "service", s.name, "error", err)
		}
	}
	s.servers = nil
}

// ServeHTTP answers whether this node has endpoints of the Service, for any path and method.
func (s *server) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	s.mutex.Lock()
	count := s.service.LocalEndpoints
	s.mutex.Unlock()
	healthy := s.healthy()
	status := http.StatusServiceUnavailable
	if count > 0 && healthy {
		status = http.StatusOK
	}
	header := response.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(count))
	response.WriteHeader(status)
	_, _ = fmt.Fprintf(response, answer, s.name.Namespace, s.name.Name, count, healthy) // a client that went away needs no answer
}

// answer has kube-proxy's white space, for those who compare texts.
const answer = `{
	"service": {
		"namespace": %q,
		"name": %q
	},
	"localEndpoints": %d,
	"serviceProxyHealthy": %v
}`
