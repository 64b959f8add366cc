package userspace

import (
	"context"
	"net/netip"
	"strings"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

// socket takes what clients send to one proxy port to the endpoints that a balancer chooses.
type socket interface {
	// number is the proxy port.
	number() uint16
	// keep ends what goes to an endpoint that is not among endpoints, where the endpoint cannot do that itself.
	keep(endpoints []netip.AddrPort)
	// close takes no more clients. TCP connections go on, as they do in modes where the kernel holds them.
	close()
}

// servicePort serves one Service port. Its methods are called by the backend's goroutine.
type servicePort struct {
	ctx      context.Context
	protocol corev1.Protocol
	family   corev1.IPFamily
	name     string
	dial     dialer
	balancer *balancer
	sockets  [2]socket // by scope; nil until there are endpoints
}

func newServicePort(ctx context.Context, port *plan.Port, family corev1.IPFamily, dial dialer) *servicePort {
	return &servicePort{ctx: ctx, protocol: port.Protocol, family: family, name: port.Name.String(), dial: dial, balancer: newBalancer()}
}

// serve takes over the port's endpoints and returns the proxy ports that serve them. A proxy port stays open, and the same,
// as long as the Service port is there.
func (s *servicePort) serve(port *plan.Port) (proxyPorts, error) {
	s.balancer.set(port)
	var numbers [2]uint16
	for scope, endpoints := range map[scope][]plan.Endpoint{clusterScope: port.Cluster, localScope: port.Local} {
		if s.sockets[scope] != nil {
			s.sockets[scope].keep(append(addresses(port.Reachable()), addresses(port.Draining)...))
		}
		if len(endpoints) == 0 {
			continue
		}
		if s.sockets[scope] == nil {
			var err error
			if s.sockets[scope], err = s.listen(scope); err != nil {
				return proxyPorts{}, err
			}
		}
		numbers[scope] = s.sockets[scope].number()
	}
	return proxyPorts{cluster: numbers[clusterScope], local: numbers[localScope]}, nil
}

func (s *servicePort) listen(scope scope) (socket, error) {
	network := strings.ToLower(string(s.protocol)) + "4"
	if s.family == corev1.IPv6Protocol {
		network = strings.ToLower(string(s.protocol)) + "6"
	}
	if s.protocol == corev1.ProtocolUDP {
		return listenUDP(s, scope, network)
	}
	return listenTCP(s, scope, network)
}

func (s *servicePort) close() {
	for _, socket := range s.sockets {
		if socket != nil {
			socket.close()
		}
	}
}
