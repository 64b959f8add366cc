package nftables

import (
	"net/netip"
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
)

// element is an element of a set or map.
type element struct {
	key
	value
}

// key is what the kernel finds an element by. Fields are padded to 4 bytes, the rest is zero.
type key struct {
	set   set
	bytes [keyLimit]byte
}

// value is an element's data: a chain in a verdict map, an address and port in a map of endpoints.
type value struct {
	chain chain
	// bits is the length of the network at the end of a key of sourceRanges.
	bits uint8
	data [dataLimit]byte
}

// The longest are those of IPv6: two addresses, protocol, port; address, port.
const (
	keyLimit  = 16 + 16 + 4 + 4
	dataLimit = 16 + 4
)

// appendElements appends the elements of one destination, as its Service's ports want it.
func (l layout) appendElements(all []element, d destination, ports []plan.Port) []element {
	b := elementBuilder{layout: l, destination: d, elements: all}
	switch d.kind {
	case wholeAddress:
		b.add(clusterIPs, chain{})
		return b.elements
	case ownEndpoint:
		e := element{key: key{set: hairpin}}
		length := l.family.addressLength()
		copy(e.bytes[:], d.address[:length])
		copy(e.bytes[length:], d.address[:length])
		return append(b.elements, e)
	}
	port, as, found := portFor(ports, d)
	if !found {
		return all
	}
	b.port = port
	switch as {
	case asClusterIP:
		b.addClusterIP()
	case asNodePort:
		b.addExternal(nodePortSets)
	default:
		b.addExternal(addressSets)
		if as == asLoadBalancer && port.HasEndpoints && len(port.SourceRanges) > 0 {
			b.addFirewall()
		}
	}
	return b.elements
}

type elementBuilder struct {
	layout
	destination
	port     *plan.Port
	elements []element
}

// newElement has the destination's key.
func (b *elementBuilder) newElement(s set) element {
	e := element{key: key{set: s}}
	at := 0
	if b.kind != toNode {
		at = copy(e.bytes[:], b.address[:b.family.addressLength()])
	}
	if b.kind != wholeAddress {
		e.bytes[at] = b.protocol
		bigEndian.PutUint16(e.bytes[at+4:], b.destination.port)
	}
	return e
}

func (b *elementBuilder) add(s set, to chain) {
	e := b.newElement(s)
	e.chain = to
	b.elements = append(b.elements, e)
}

// addEndpoints adds one element an endpoint, numbered from 0.
func (b *elementBuilder) addEndpoints(s set, endpoints []plan.Endpoint) {
	e := b.newElement(s)
	at := 8
	if b.kind == toAddress {
		at += int(b.family.addressLength())
	}
	for i, endpoint := range endpoints {
		copy(e.bytes[at:], native(uint32(i)))
		e.data = endpointData(endpoint.AddrPort)
		b.elements = append(b.elements, e)
	}
}

func endpointData(endpoint netip.AddrPort) (data [dataLimit]byte) {
	length := copy(data[:], endpoint.Addr().AsSlice())
	bigEndian.PutUint16(data[length:], endpoint.Port())
	return data
}

// addRefusal adds what happens to connections that have nowhere to go: without any endpoint clients hear of it at once; without a local
// one they are left without an answer, as a load balancer's probes expect.
func (b *elementBuilder) addRefusal(s set) {
	if b.port.HasEndpoints {
		b.add(s, chain{kind: drop})
	} else {
		b.add(s, chain{kind: refuse})
	}
}

func (b *elementBuilder) sticky() bool { return b.port.AffinitySeconds > 0 }

// addMemory adds for how long clients are remembered, if they are.
func (b *elementBuilder) addMemory(s set) {
	if b.sticky() {
		b.add(s, chain{kind: remember, count: b.port.AffinitySeconds})
	}
}

func (b *elementBuilder) addClusterIP() {
	chosen := b.port.InternalEndpoints()
	if len(chosen) == 0 {
		b.addRefusal(withoutEndpoints)
		return
	}
	b.add(services, chain{toClusterIP, int32(len(chosen)), b.sticky()})
	b.addEndpoints(endpoints, chosen)
	b.addMemory(stickyServices)
}

// externalSets are the sets and chains for one way to reach a Service from outside.
type externalSets struct {
	services, endpoints, insideServices, insideEndpoints, without, sticky set
	cluster, local, inside                                                chainKind
}

var (
	addressSets  = externalSets{services, endpoints, insideServices, insideEndpoints, withoutEndpoints, stickyServices, toExternal, toExternalLocal, fromInside}
	nodePortSets = externalSets{nodePorts, nodePortEndpoints, insideNodePorts, insideNodePortEndpoints, nodePortsWithoutEndpoints, stickyNodePorts,
		toNodePort, toNodePortLocal, fromInsideToNodePort}
)

// addExternal adds the elements of a node port, an external IP or a load balancer's address. With externalTrafficPolicy Local, Pods and
// the node itself reach all endpoints by maps of their own.
func (b *elementBuilder) addExternal(sets externalSets) {
	chosen := b.port.ExternalEndpoints()
	kind := sets.cluster
	if b.port.ExternalLocal {
		kind = sets.local
	}
	inside := b.port.ExternalLocal && len(b.port.Cluster) > 0
	if len(chosen) > 0 || inside {
		b.add(sets.services, chain{kind, int32(len(chosen)), b.sticky()})
		b.addEndpoints(sets.endpoints, chosen)
		b.addMemory(sets.sticky)
	}
	if inside {
		b.add(sets.insideServices, chain{sets.inside, int32(len(b.port.Cluster)), b.sticky()})
		b.addEndpoints(sets.insideEndpoints, b.port.Cluster)
	}
	if len(chosen) == 0 {
		b.addRefusal(sets.without)
	}
}

// addFirewall adds the networks that may use a load balancer's address. A network in another one is left out: the kernel takes no
// overlapping ones.
func (b *elementBuilder) addFirewall() {
	ranges := make([]netip.Prefix, 0, len(b.port.SourceRanges))
	nodeAdmitted := false
	for _, prefix := range b.port.SourceRanges {
		if l := b.layout; l.serves(prefix.Addr()) {
			ranges = append(ranges, prefix.Masked())
			nodeAdmitted = nodeAdmitted || slices.ContainsFunc(l.options.NodeIPs, prefix.Contains)
		}
	}
	if nodeAdmitted {
		// The node may hold the load balancer's address itself, and then uses it as its source when it calls it.
		for _, address := range b.port.LoadBalancerIPs {
			ranges = append(ranges, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	b.add(firewall, chain{})
	slices.SortFunc(ranges, netip.Prefix.Compare)
	slices.SortStableFunc(ranges, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for i, prefix := range ranges {
		if slices.ContainsFunc(ranges[:i], func(wider netip.Prefix) bool { return wider.Contains(prefix.Addr()) }) {
			continue
		}
		e := b.newElement(sourceRanges)
		copy(e.bytes[b.family.addressLength()+8:], prefix.Addr().AsSlice())
		e.bits = uint8(prefix.Bits())
		b.elements = append(b.elements, e)
	}
}

// destinationOf is the destination that a key of the set belongs to.
func (l layout) destinationOf(k key) destination {
	length := int(l.family.addressLength())
	d := destination{}
	at := 0
	switch k.set {
	case nodePorts, nodePortEndpoints, insideNodePorts, insideNodePortEndpoints, nodePortsWithoutEndpoints, stickyNodePorts:
		d.kind = toNode
	case clusterIPs, hairpin:
		d.kind = wholeAddress
		if k.set == hairpin {
			d.kind = ownEndpoint
		}
		copy(d.address[:], k.bytes[:length])
		return d
	case affinity:
		at = length
		fallthrough
	default:
		at += copy(d.address[:], k.bytes[at:at+length])
	}
	d.protocol, d.port = k.bytes[at], bigEndian.Uint16(k.bytes[at+4:])
	return d
}

// keyLength is in bytes.
func (s set) keyLength(of family) int {
	fields, _ := s.fields()
	_, length := datatypes(fields, of)
	return int(length)
}

// dataLength is in bytes, of maps of addresses; 0 for others.
func (s set) dataLength(of family) int {
	_, fields := s.fields()
	_, length := datatypes(fields, of)
	return int(length)
}
