package behaviour

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// expectation is what must happen. Without endpoints the client is refused or gets no answer; with several, every one gets its
// share, or one client always the same.
type expectation struct {
	outcome
	// sources are the endpoints that may answer, and the client's addresses that each may see: one, or any of a node's.
	sources map[place][]netip.Addr
	sticky  bool
}

func (e expectation) String() string {
	if e.outcome != answered {
		return string(e.outcome)
	}
	var all []string
	for _, endpoint := range sorted(e.sources) {
		all = append(all, fmt.Sprintf("%s sees %v", endpoint, e.sources[endpoint]))
	}
	if e.sticky {
		return "always the same of: " + strings.Join(all, ", ")
	}
	return strings.Join(all, ", ")
}

// leftAlone is expected where the proxy does nothing: the network says that the address is unreachable, or nothing.
const leftAlone outcome = "left alone"

// unheard is expected of SCTP where other protocols are refused: Linux's SCTP does not end an attempt to connect for ICMP's "port
// unreachable" (sctp_v4_err takes it for a passing error), only for the ABORT of a host without a listener.
const unheard outcome = "refused, or not answered"

// allows says whether an outcome is as expected.
func (e expectation) allows(o outcome) bool {
	return o == e.outcome || e.outcome == leftAlone && (o == unreachable || o == unanswered) ||
		e.outcome == unheard && (o == refused || o == unanswered)
}

// arrival is a connection where it meets the first node whose proxy serves the address.
type arrival struct {
	testCase
	node     place      // which proxy decides
	source   netip.Addr // the client, as that node sees it
	fromPod  bool       // of this node
	fromNode bool       // from this node itself
}

func (c testCase) arrive() arrival {
	a := arrival{testCase: c, node: c.client.node(), source: c.client.address(c.family)}
	if c.client == laptop {
		a.node = node1
	}
	if c.way == nodePortOther {
		// A node port of another node is, for the client's node, an address like any other; and Pods are hidden behind their
		// node when they leave the cluster.
		if c.client.isPod() {
			a.source = c.client.node().address(c.family)
		}
		a.node = a.node.otherNode()
	}
	a.fromPod = c.client.isPod() && c.client.node() == a.node
	a.fromNode = c.client == a.node
	return a
}

// usable are the endpoints on the node, or on all with "", that get new connections: "kube-proxy will use terminating endpoints
// that are serving only if there are no ready ones" (KEP-1669), for each traffic policy by itself.
func (s shape) usable(node place) []member {
	pick := func(drains bool) []member {
		var all []member
		for _, member := range endpointSets[s.endpoints] {
			if member.drains == drains && (node == "" || member.node() == node) {
				all = append(all, member)
			}
		}
		return all
	}
	if ready := pick(false); len(ready) > 0 {
		return ready
	}
	return pick(true)
}

// near are those of the endpoints that are meant for the node. "kube-proxy filters endpoints by hints", unless "one or more endpoints
// does not have a hint" or "a zone is not represented in hints" (Topology Aware Routing); first by node, then by zone (KEP-3015).
func near(node place, endpoints []member) []member {
	for _, of := range []func(member) (hint, own string){
		func(m member) (hint, own string) { return string(m.forNode), string(node) },
		func(m member) (hint, own string) { return m.forZone, node.zone() },
	} {
		var all []member
		complete := true
		for _, endpoint := range endpoints {
			hint, own := of(endpoint)
			complete = complete && hint != ""
			if hint == own {
				all = append(all, endpoint)
			}
		}
		if complete && len(all) > 0 {
			return all
		}
	}
	return endpoints
}

// admits says whether loadBalancerSourceRanges let the client in: "traffic through the load balancer will be restricted to the
// specified client IPs". In kubelite the nodes are the load balancer.
func (a arrival) admitted() bool {
	switch a.admits {
	case "laptop":
		return a.client == laptop
	case "pods":
		return a.client.isPod()
	}
	return true
}

// expect says what must happen, for a proxy that works by rules in the kernel.
func expect(c testCase) expectation {
	a := c.arrive()
	if len(a.usable("")) == 0 {
		return expectation{outcome: refused} // "has no endpoints"
	}
	if a.way == loadBalancerIP && !a.admitted() {
		return expectation{outcome: unanswered}
	}
	endpoints, masquerade := a.external()
	if a.way == clusterIP {
		endpoints, masquerade = a.internal()
	}
	if len(endpoints) == 0 {
		return expectation{outcome: unanswered} // "has no local endpoints"
	}
	e := expectation{outcome: answered, sources: map[place][]netip.Addr{}, sticky: a.sticky}
	for _, endpoint := range endpoints {
		e.sources[endpoint.place] = a.seenBy(endpoint.place, masquerade)
	}
	return e
}

// internal is for the ClusterIP. "When internalTrafficPolicy is Local, kube-proxy only uses node local endpoints; if there are
// none, it behaves as if there were zero endpoints" (and drops). Who is not a Pod is masqueraded (--cluster-cidr).
func (a arrival) internal() (endpoints []member, masquerade bool) {
	if a.internalLocal {
		return a.usable(a.node), !a.fromPod
	}
	return near(a.node, a.usable("")), !a.fromPod
}

// external is for every other address. "Cluster: obscures the client source IP and may cause a second hop. Local: preserves the
// client source IP and avoids a second hop." Pods and the node itself are inside the cluster, and reach all endpoints under Local, too.
func (a arrival) external() (endpoints []member, masquerade bool) {
	switch {
	case !a.externalLocal:
		return near(a.node, a.usable("")), true
	case a.fromPod:
		return near(a.node, a.usable("")), false
	case a.fromNode:
		return near(a.node, a.usable("")), true
	}
	return a.usable(a.node), false
}

// seenBy are the addresses that the endpoint may see.
func (a arrival) seenBy(endpoint place, masquerade bool) []netip.Addr {
	node := a.node.address(a.family)
	own := []netip.Addr{a.source}
	if endpoint == a.client && a.fromPod {
		masquerade = true // hairpin: a Pod that saw its own address would answer itself directly
	}
	here := endpoint.node() == a.node
	switch {
	case masquerade && here && endpoint.isPod():
		return []netip.Addr{a.node.gateway(a.family)}
	case masquerade && here && a.fromNode:
		return []netip.Addr{node, a.node.gateway(a.family)} // of its own addresses any
	case masquerade && here:
		return own // it ends at the node, and passes no POSTROUTING
	case masquerade:
		return []netip.Addr{node}
	case a.fromPod && !here && !endpoint.isPod():
		return []netip.Addr{node} // on its way out of the Pod network
	}
	return own
}

func sorted[K ~string, V any](all map[K]V) []K { return slices.Sorted(maps.Keys(all)) }
