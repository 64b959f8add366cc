package plan

import (
	"bytes"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// candidate is an endpoint with what decides what it is used for.
type candidate struct {
	Endpoint
	state state
	local bool
	// elsewhere says that the endpoint is on another node; where it is may be unknown, too.
	elsewhere bool
	hints     *hints
}

// endpointsOf collects the endpoints of one Service port from its slices, sorted, each address and port once.
func endpointsOf(port *servicePort, family corev1.IPFamily, endpointSlices []*SliceInput, node Node) []candidate {
	count := 0
	for _, slice := range endpointSlices {
		count += len(slice.endpoints)
	}
	all := make([]candidate, 0, count)
	for _, slice := range endpointSlices {
		number, ok := slice.number(port)
		if !ok {
			continue
		}
		for i := range slice.endpoints {
			endpoint := &slice.endpoints[i]
			if familyOf(endpoint.address) != family {
				break // a slice's addresses are of one family
			}
			all = append(all, candidate{
				Endpoint:  Endpoint{netip.AddrPortFrom(endpoint.address, number)},
				state:     endpoint.state,
				local:     endpoint.node != "" && endpoint.node == node.Name,
				elsewhere: endpoint.node != "" && endpoint.node != node.Name,
				hints:     endpoint.hints,
			})
		}
	}
	return distinct(all)
}

// distinct sorts by text and keeps one of each address and port. While an endpoint moves from one slice to another it can
// be in both; the more useful state wins.
func distinct(all []candidate) []candidate {
	rank := func(c candidate) int {
		switch {
		case c.state.is(ready):
			return 0
		case c.state.is(serving):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.Endpoint != b.Endpoint {
			return compareText(a.Endpoint, b.Endpoint)
		}
		return rank(a) - rank(b)
	})
	return slices.CompactFunc(all, func(a, b candidate) bool { return a.Endpoint == b.Endpoint })
}

// compareText compares by text, not by number, as kube-proxy does: 10.244.0.10:80 comes before 10.244.0.2:80.
func compareText(a, b Endpoint) int {
	var aBuffer, bBuffer [64]byte // longer than any address without a zone; they stay on the stack
	return bytes.Compare(a.AppendTo(aBuffer[:0]), b.AppendTo(bBuffer[:0]))
}

// categorize fills the endpoint fields of port, as kube-proxy's CategorizeEndpoints does. Ready endpoints are used; where there are
// none, those that are terminating but still serve (KEP-1669), for each traffic policy by itself. Hints narrow policy Cluster.
func categorize(port *Port, all []candidate, node Node) {
	isReady := func(c *candidate) bool { return c.state.is(ready) }
	drains := func(c *candidate) bool { return c.state.drains() }

	if !port.InternalLocal || port.External() {
		near := nearness(all, node)
		port.Cluster = choose(all, func(c *candidate) bool { return isReady(c) && near(c) })
		if len(port.Cluster) == 0 {
			port.Cluster = choose(all, drains)
		}
	}
	if port.InternalLocal || port.ExternalLocal && port.External() {
		port.Local = choose(all, func(c *candidate) bool { return isReady(c) && c.local })
		if len(port.Local) == 0 {
			port.Local = choose(all, func(c *candidate) bool { return drains(c) && c.local })
		}
	}
	port.HasEndpoints = slices.ContainsFunc(all, func(c candidate) bool { return isReady(&c) || drains(&c) })

	reachable := port.Reachable() // in the order of all
	for i := range all {
		c := &all[i]
		if len(reachable) > 0 && reachable[0] == c.Endpoint {
			reachable = reachable[1:]
			if !c.elsewhere && !slices.Contains(port.Hairpin, c.Addr()) {
				port.Hairpin = append(port.Hairpin, c.Addr())
			}
		} else if c.state.is(serving) {
			port.Draining = append(port.Draining, c.Endpoint)
		}
	}
}

// nearness says which ready endpoints are for this node. Hints count only if every ready endpoint has some and one is meant for
// this node (KEP-3015), else for its zone (KEP-2433); where neither is so, all endpoints count.
func nearness(all []candidate, node Node) func(*candidate) bool {
	forNode := func(c *candidate) bool { return c.hints != nil && slices.Contains(c.hints.nodes, node.Name) }
	forZone := func(c *candidate) bool { return c.hints != nil && slices.Contains(c.hints.zones, node.Zone) }
	allForNodes, allForZones, someForNode, someForZone := true, true, false, false
	for i := range all {
		c := &all[i]
		if !c.state.is(ready) {
			continue
		}
		if c.hints == nil {
			return func(*candidate) bool { return true }
		}
		allForNodes, someForNode = allForNodes && len(c.hints.nodes) > 0, someForNode || forNode(c)
		allForZones, someForZone = allForZones && len(c.hints.zones) > 0, someForZone || forZone(c)
	}
	switch {
	case allForNodes && someForNode:
		return forNode
	case allForZones && someForZone:
		return forZone
	}
	return func(*candidate) bool { return true }
}

// choose returns the wanted endpoints; nil for none.
func choose(all []candidate, wanted func(*candidate) bool) []Endpoint {
	count := 0
	for i := range all {
		if wanted(&all[i]) {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	endpoints := make([]Endpoint, 0, count)
	for i := range all {
		if wanted(&all[i]) {
			endpoints = append(endpoints, all[i].Endpoint)
		}
	}
	return endpoints
}
