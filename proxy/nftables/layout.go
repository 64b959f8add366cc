package nftables

import (
	"net/netip"

	"github.com/kubelite/kubelite/proxy/backend"
	"golang.org/x/sys/unix"
)

// tableName is the name of the table of each family.
const tableName = "kubelite"

// family is netfilter's number of an address family.
type family uint8

// rule is the expressions of one rule.
type rule []attribute

// layout is the constant part of a table: everything but elements and the chains that these lead to.
type layout struct {
	family  family
	options backend.Options
}

// Chains that others jump to.
const (
	chainServices              = "services"
	chainFromInside            = "from-inside"
	chainFromInsideToNodePorts = "from-inside-to-node-ports"
	chainNoEndpoints           = "no-endpoints"
	chainRememberClient        = "remember-client"
)

// fixedChain is one that is always there.
type fixedChain struct {
	name string
	// hook is where netfilter enters the chain; nil if only other chains do.
	hook  *hook
	rules []rule
}

type hook struct {
	kind     string
	number   uint32
	priority int32
}

// Priorities are those of kube-proxy's nftables mode. Source ranges are about the address that a client sent to, so that they are
// looked at before addresses are translated; what was not translated is refused after that. Clients are remembered before anybody
// translates their addresses: that ends the way through the nat chains of a hook.
const (
	priorityFirewall    = priorityDestination - 10
	priorityDestination = -100
	priorityFilter      = 0
	priorityRemember    = prioritySource - 10
	prioritySource      = 100
)

// Hooks, from linux/netfilter.h.
const (
	hookPrerouting  = 0
	hookInput       = 1
	hookForward     = 2
	hookOutput      = 3
	hookPostrouting = 4
)

// chains are in an order in which each leads only to ones before it.
func (l layout) chains() []fixedChain {
	jumpToServices := []rule{{immediateVerdict(verdictJump, chainServices)}}
	newConnections := []rule{append(append(conntrackStateNew(), translated(unix.NFT_CMP_EQ)...), immediateVerdict(verdictJump, chainNoEndpoints))}
	// Only the first packet of a connection enters a nat chain. One that is repeated, because a dead endpoint does not answer, would
	// be remembered after the endpoint went, and forgotten.
	remembering := []rule{append(translated(unix.NFT_CMP_NEQ), immediateVerdict(verdictGoto, chainRememberClient))}
	inside := []rule{}
	toNodePortsInside := []rule{}
	if l.options.ClusterCIDR.IsValid() {
		inside = append(inside, l.fromPods(insideServices, l.destinationKey()))
		toNodePortsInside = append(toNodePortsInside, l.fromPods(insideNodePorts, nodePortKey()))
	}
	return []fixedChain{
		{"refuse", nil, []rule{{l.family.reject()}}},
		{chainFromInside, nil, append(inside, l.fromNode(insideServices, l.destinationKey()))},
		{chainFromInsideToNodePorts, nil, append(toNodePortsInside, l.fromNode(insideNodePorts, nodePortKey()))},
		{chainServices, nil, append([]rule{l.destinationVerdict(services)}, l.toNodePorts(nodePorts)...)},
		{chainNoEndpoints, nil, append(append([]rule{l.destinationVerdict(withoutEndpoints)}, l.toNodePorts(nodePortsWithoutEndpoints)...),
			rule{l.family.destination(0), lookup(clusterIPs), l.family.reject()})},
		{chainRememberClient, nil, []rule{
			append(l.originalDestinationKey().load, lookupVerdict(stickyServices)),
			append(originalPortAt(0), lookupVerdict(stickyNodePorts)),
		}},
		{"firewall-prerouting", &hook{"filter", hookPrerouting, priorityFirewall}, []rule{l.firewall()}},
		{"firewall-output", &hook{"filter", hookOutput, priorityFirewall}, []rule{l.firewall()}},
		{"nat-prerouting", &hook{"nat", hookPrerouting, priorityDestination}, jumpToServices},
		{"nat-output", &hook{"nat", hookOutput, priorityDestination}, jumpToServices},
		{"filter-input", &hook{"filter", hookInput, priorityFilter}, newConnections},
		{"filter-forward", &hook{"filter", hookForward, priorityFilter}, newConnections},
		{"filter-output", &hook{"filter", hookOutput, priorityFilter}, newConnections},
		{"remember-input", &hook{"nat", hookInput, priorityRemember}, remembering},
		{"remember-postrouting", &hook{"nat", hookPostrouting, priorityRemember}, remembering},
		{"nat-postrouting", &hook{"nat", hookPostrouting, prioritySource}, l.masquerade()},
	}
}

// destinationVerdict is ip daddr . meta l4proto . th dport vmap @services
func (l layout) destinationVerdict(s set) rule {
	return append(l.destinationKey().load, lookupVerdict(s))
}

// toNodePorts is
//
//	fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports
//
// or, where node ports are served in some networks only, for each of them
//
//	ip daddr 192.168.1.0/24 fib daddr type local meta l4proto . th dport vmap @node-ports
func (l layout) toNodePorts(s set) []rule {
	networks := l.options.NodePortAddresses
	if len(networks) == 0 {
		networks = []netip.Prefix{{}}
	}
	loopback := l.loopback()
	var rules []rule
	for _, network := range networks {
		if network.IsValid() && network.Bits() >= loopback.Bits() && loopback.Contains(network.Addr()) {
			continue // kube-proxy's nftables mode serves none there, either
		}
		var r rule
		if network.IsValid() && network.Bits() > 0 {
			r = append(append(r, l.family.destination(0)), l.family.matchPrefix(network, unix.NFT_CMP_EQ)...)
		}
		r = append(r, local(unix.NFTA_FIB_F_DADDR)...)
		if !network.IsValid() || network.Overlaps(loopback) {
			r = append(append(r, l.family.destination(0)), l.family.matchPrefix(loopback, unix.NFT_CMP_NEQ)...)
		}
		rules = append(rules, append(append(r, nodePortKey().load...), lookupVerdict(s)))
	}
	return rules
}

func (l layout) loopback() netip.Prefix {
	if l.family == unix.NFPROTO_IPV6 {
		return netip.MustParsePrefix("::1/128")
	}
	return netip.MustParsePrefix("127.0.0.0/8")
}

// fromPods is ip saddr 10.244.0.0/16 ip daddr . meta l4proto . th dport vmap @inside-services
func (l layout) fromPods(s set, key keyLoad) rule {
	r := append(rule{l.family.source(0)}, l.family.matchPrefix(l.options.ClusterCIDR, unix.NFT_CMP_EQ)...)
	return append(append(r, key.load...), lookupVerdict(s))
}

// fromNode is the same for the node itself, and masqueraded, since the endpoint may be on another node:
//
//	fib saddr type local meta mark set meta mark | 0x00004000 ip daddr . meta l4proto . th dport vmap @inside-services
func (l layout) fromNode(s set, key keyLoad) rule {
	r := append(local(unix.NFTA_FIB_F_SADDR), l.mark()...)
	return append(append(r, key.load...), lookupVerdict(s))
}

// firewall is
//
//	ct state new ip daddr . meta l4proto . th dport @firewall ip daddr . meta l4proto . th dport . ip saddr != @source-ranges drop
func (l layout) firewall() rule {
	key := l.destinationKey()
	r := append(rule(conntrackStateNew()), key.load...)
	r = append(append(r, lookup(firewall)), key.load...)
	return append(r, l.family.source(key.end), lookupAbsent(sourceRanges), immediateVerdict(verdictDrop, ""))
}

// mark is meta mark set meta mark | 0x00004000
func (l layout) mark() rule {
	mark := l.options.MasqueradeMark()
	return rule{metaLoad(0, unix.NFT_META_MARK), bitwise(0, native(^mark), native(mark)), metaStore(0, unix.NFT_META_MARK)}
}

// markFromOutside is what is masqueraded on its way to a ClusterIP.
func (l layout) markFromOutside() []rule {
	switch {
	case l.options.MasqueradeAll:
		return []rule{l.mark()}
	case l.options.ClusterCIDR.IsValid():
		r := append(rule{l.family.source(0)}, l.family.matchPrefix(l.options.ClusterCIDR, unix.NFT_CMP_NEQ)...)
		return []rule{append(r, l.mark()...)}
	}
	return nil
}

// masquerade is
//
//	ip saddr . ip daddr @hairpin meta mark set meta mark | 0x00004000
//	meta mark & 0x00004000 == 0x00000000 return
//	meta mark set meta mark & 0xffffbfff
//	masquerade fully-random
//
// The mark is cleared, so that a packet that passes here twice is not masqueraded twice.
func (l layout) masquerade() []rule {
	mark := l.options.MasqueradeMark()
	return []rule{
		append(rule{l.family.source(0), l.family.destination(l.family.words()), lookup(hairpin)}, l.mark()...),
		{metaLoad(0, unix.NFT_META_MARK), bitwise(0, native(mark), native(0)), compare(0, unix.NFT_CMP_EQ, native(0)), immediateVerdict(verdictReturn, "")},
		{metaLoad(0, unix.NFT_META_MARK), bitwise(0, native(^mark), native(0)), metaStore(0, unix.NFT_META_MARK)},
		{masqueradeRandomly()},
	}
}
