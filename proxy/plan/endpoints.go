package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// candidate is an endpoint with the conditions that decide what it is used for.
type candidate struct {
	Endpoint
	ready       bool
	serving     bool
	terminating bool
	local       bool
	elsewhere   bool
}

// endpointsOf collects the endpoints of one Service port from its slices, sorted, each address and port once. A slice's
// port belongs to the Service port of the same name and protocol.
func endpointsOf(port *corev1.ServicePort, endpointSlices []*discoveryv1.EndpointSlice, node Node) []candidate {
	var all []candidate
	for _, slice := range endpointSlices {
		if slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		number, ok := portNumber(port, slice.Ports)
		if !ok {
			continue
		}
		for i := range slice.Endpoints {
			endpoint := &slice.Endpoints[i]
			if len(endpoint.Addresses) == 0 {
				continue
			}
			address, ok := parseIPv4(endpoint.Addresses[0])
			if !ok {
				continue
			}
			conditions := endpoint.Conditions
			ready := conditions.Ready == nil || *conditions.Ready
			all = append(all, candidate{
				Endpoint:    Endpoint{netip.AddrPortFrom(address, number)},
				ready:       ready,
				serving:     conditions.Serving == nil && ready || conditions.Serving != nil && *conditions.Serving,
				terminating: conditions.Terminating != nil && *conditions.Terminating,
				local:       endpoint.NodeName != nil && *endpoint.NodeName == node.Name,
				elsewhere:   endpoint.NodeName != nil && *endpoint.NodeName != node.Name,
			})
		}
	}
	return unique(all)
}

func portNumber(port *corev1.ServicePort, ports []discoveryv1.EndpointPort) (uint16, bool) {
	for i := range ports {
		candidate := &ports[i]
		name, protocol := "", corev1.ProtocolTCP
		if candidate.Name != nil {
			name = *candidate.Name
		}
		if candidate.Protocol != nil {
			protocol = *candidate.Protocol
		}
		samePort := name == port.Name && (protocol == port.Protocol || port.Protocol == "" && protocol == corev1.ProtocolTCP)
		if samePort && candidate.Port != nil {
			return uint16(*candidate.Port), true
		}
	}
	return 0, false
}

// unique sorts by text and keeps one of each address and port. While an endpoint moves from one slice to another it can
// be in both; the more useful state wins.
func unique(all []candidate) []candidate {
	rank := func(c candidate) int {
		switch {
		case c.ready:
			return 0
		case c.serving:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.Endpoint != b.Endpoint {
			if a.String() < b.String() {
				return -1
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return slices.CompactFunc(all, func(a, b candidate) bool { return a.Endpoint == b.Endpoint })
}

// categorize fills the endpoint fields of port. Ready endpoints are used; where there are none, those that are
// terminating but still serve (KEP-1669), for each traffic policy by itself.
func categorize(port *Port, all []candidate) {
	usesCluster := !port.InternalLocal || port.External()
	usesLocal := port.InternalLocal || port.ExternalLocal && port.External()

	if usesCluster {
		port.Cluster = readyElseDraining(all)
	}
	if usesLocal {
		port.Local = readyElseDraining(filter(all, func(c candidate) bool { return c.local }))
	}
	port.HasEndpoints = len(readyElseDraining(all)) > 0

	reachable := port.Reachable()
	for _, c := range all {
		if c.serving && !slices.Contains(reachable, c.Endpoint) {
			port.Draining = append(port.Draining, c.Endpoint)
		}
		if !c.elsewhere && !slices.Contains(port.Hairpin, c.Addr()) && slices.Contains(reachable, c.Endpoint) {
			port.Hairpin = append(port.Hairpin, c.Addr())
		}
	}
}

func readyElseDraining(all []candidate) []Endpoint {
	chosen := filter(all, func(c candidate) bool { return c.ready })
	if len(chosen) == 0 {
		chosen = filter(all, func(c candidate) bool { return c.serving && c.terminating })
	}
	endpoints := make([]Endpoint, 0, len(chosen))
	for _, c := range chosen {
		endpoints = append(endpoints, c.Endpoint)
	}
	return endpoints
}

func filter(all []candidate, keep func(candidate) bool) []candidate {
	var kept []candidate
	for _, c := range all {
		if keep(c) {
			kept = append(kept, c)
		}
	}
	return kept
}
