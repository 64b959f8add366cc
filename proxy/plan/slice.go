package plan

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// SliceInput is what plans depend on of an EndpointSlice. It is never changed.
type SliceInput struct {
	Name types.NamespacedName
	// Service is whose endpoints these are; its Name is empty for nobody's.
	Service types.NamespacedName
	// Triggered is when that happened to a Pod or the Service which made the slice what it is; zero if nobody said.
	Triggered time.Time

	ports     []slicePort
	endpoints []sliceEndpoint
}

type slicePort struct {
	name     string
	protocol corev1.Protocol
	port     uint16
}

type sliceEndpoint struct {
	address netip.Addr
	node    string
	hints   *hints // nil for none
	state   state
}

// hints say for whom an endpoint is meant (KEP-2433, KEP-3015).
type hints struct {
	nodes, zones []string
}

// state holds an endpoint's conditions.
type state uint8

const (
	ready state = 1 << iota
	serving
	terminating
)

func (s state) is(condition state) bool { return s&condition != 0 }

// drains says that an endpoint gets new connections only where no ready one can (KEP-1669).
func (s state) drains() bool { return s.is(serving) && s.is(terminating) }

// GetObjectMeta implements metav1.ObjectMetaAccessor: client-go's stores find an object's name by it.
func (s *SliceInput) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: s.Name.Namespace, Name: s.Name.Name}
}

// ReadSlice takes from an EndpointSlice what plans depend on. Ports without a number that a port can have (the API
// server does not look) and endpoints without an address of the
// slice's family are passed over, of an endpoint's several addresses only the first counts.
func ReadSlice(slice *discoveryv1.EndpointSlice) *SliceInput {
	input := &SliceInput{Name: intern(slice.Namespace, slice.Name)}
	input.Service, _ = ServiceOf(slice)
	if slice.AddressType != discoveryv1.AddressTypeIPv4 && slice.AddressType != discoveryv1.AddressTypeIPv6 {
		return input
	}
	if text := slice.Annotations[corev1.EndpointsLastChangeTriggerTime]; text != "" {
		input.Triggered, _ = time.Parse(time.RFC3339Nano, text) // it is of no more use than to be measured
	}
	for i := range slice.Ports {
		port := &slice.Ports[i]
		if port.Port == nil || *port.Port < 1 || *port.Port > 65535 {
			continue
		}
		read := slicePort{protocol: corev1.ProtocolTCP, port: uint16(*port.Port)}
		if port.Name != nil {
			read.name = internString(*port.Name)
		}
		if port.Protocol != nil {
			read.protocol = internProtocol(*port.Protocol)
		}
		input.ports = append(input.ports, read)
	}
	input.endpoints = make([]sliceEndpoint, 0, len(slice.Endpoints))
	for i := range slice.Endpoints {
		if endpoint, ok := readEndpoint(&slice.Endpoints[i]); ok && endpoint.address.Is4() == (slice.AddressType == discoveryv1.AddressTypeIPv4) {
			input.endpoints = append(input.endpoints, endpoint)
		}
	}
	return input
}

func readEndpoint(endpoint *discoveryv1.Endpoint) (sliceEndpoint, bool) {
	if len(endpoint.Addresses) == 0 {
		return sliceEndpoint{}, false
	}
	address, err := netip.ParseAddr(endpoint.Addresses[0])
	if err != nil {
		return sliceEndpoint{}, false
	}
	read := sliceEndpoint{address: address, state: readState(endpoint.Conditions), hints: readHints(endpoint.Hints)}
	if endpoint.NodeName != nil {
		read.node = internString(*endpoint.NodeName)
	}
	return read, true
}

// readState reads conditions as the API says: left out, an endpoint is ready, serves and does not terminate.
func readState(conditions discoveryv1.EndpointConditions) state {
	var s state
	if conditions.Ready == nil || *conditions.Ready {
		s |= ready
	}
	if conditions.Serving == nil || *conditions.Serving {
		s |= serving
	}
	if conditions.Terminating != nil && *conditions.Terminating {
		s |= terminating
	}
	return s
}

func readHints(given *discoveryv1.EndpointHints) *hints {
	if given == nil || len(given.ForNodes)+len(given.ForZones) == 0 {
		return nil
	}
	h := &hints{}
	for _, node := range given.ForNodes {
		h.nodes = append(h.nodes, internString(node.Name))
	}
	for _, zone := range given.ForZones {
		h.zones = append(h.zones, internString(zone.Name))
	}
	return h
}

// ServiceOf is the Service that a slice belongs to; false if it belongs to none.
func ServiceOf(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	return intern(slice.Namespace, name), name != ""
}

// number is the target port for a Service's port: that of the slice's port of the same name and protocol.
func (s *SliceInput) number(port *servicePort) (uint16, bool) {
	i := slices.IndexFunc(s.ports, func(own slicePort) bool { return own.name == port.name && own.protocol == port.protocol })
	if i < 0 {
		return 0, false
	}
	return s.ports[i].port, true
}

// LocalReady counts the ready endpoints on the node in the family: what a load balancer hears at the health-check node port.
// An address with several ports counts once.
func LocalReady(endpointSlices []*SliceInput, family corev1.IPFamily, node Node) int {
	addresses := map[netip.Addr]bool{}
	for _, slice := range endpointSlices {
		if len(slice.ports) == 0 {
			continue
		}
		for i := range slice.endpoints {
			if endpoint := &slice.endpoints[i]; endpoint.state.is(ready) && endpoint.node == node.Name && familyOf(endpoint.address) == family {
				addresses[endpoint.address] = true
			}
		}
	}
	return len(addresses)
}
