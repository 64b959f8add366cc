package iptables

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

// layout is everything besides a Service's own ports that its rules depend on.
type layout struct {
	backend.Options
	// nodePorts are the last rules of the nat table's KUBE-SERVICES.
	nodePorts []string
	// withoutEndpointComments leaves the comments out that every endpoint repeats.
	withoutEndpointComments bool
	// keepInvalid leaves packets alone that connection tracking takes for invalid.
	keepInvalid bool
}

// largeClusterEndpoints is the number of endpoints above which kube-proxy leaves out the comments of their rules: without them the
// kernel's part of each change, which looks at every rule, takes a third less time.
const largeClusterEndpoints = 1000

// endpointCount is how many endpoints the ports count for largeClusterEndpoints.
func endpointCount(ports []plan.Port) int {
	count := 0
	for i := range ports {
		count += len(ports[i].Reachable()) + len(ports[i].Draining)
	}
	return count
}

// newLayout looks at the calling thread's network namespace for what the options leave to it.
func newLayout(options backend.Options) (layout, error) {
	options.ClusterCIDR = options.ClusterCIDR.Masked()
	options.NodePortAddresses = slices.DeleteFunc(slices.Clone(options.NodePortAddresses), func(network netip.Prefix) bool {
		return network.Addr().Is6() != (options.Family == corev1.IPv6Protocol) // without any of the family all addresses of it are meant
	})
	if loopback := netip.MustParsePrefix("127.0.0.0/8"); !allNodePortAddresses(options) {
		options.LocalhostNodePorts = options.LocalhostNodePorts && slices.ContainsFunc(options.NodePortAddresses, loopback.Overlaps)
	}
	l := layout{Options: options, keepInvalid: conntrackIsLiberal()}
	own, err := nodePortAddresses(options)
	if err != nil {
		return layout{}, err
	}
	l.nodePorts = l.nodePortRules(own)
	return l, nil
}

// conntrackIsLiberal says whether TCP packets outside of their connection's window are no longer invalid
// (sysctl nf_conntrack_tcp_be_liberal). Then there is nothing to drop; where it cannot be read there is.
func conntrackIsLiberal() bool {
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
	return err == nil && strings.TrimSpace(string(text)) != "0"
}

// nodePortAddresses are the node's own addresses in options.NodePortAddresses, sorted.
func nodePortAddresses(options backend.Options) ([]netip.Addr, error) {
	if allNodePortAddresses(options) {
		return nil, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var own []netip.Addr
	for _, text := range all {
		prefix, err := netip.ParsePrefix(text.String())
		if err != nil {
			continue
		}
		address := prefix.Addr()
		contains := func(network netip.Prefix) bool { return network.Contains(address) }
		loopback := address.IsLoopback() && (address.Is6() || !options.LocalhostNodePorts)
		if !loopback && slices.ContainsFunc(options.NodePortAddresses, contains) {
			own = append(own, address)
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own), nil
}

// allNodePortAddresses says whether node ports are served at every address of the node, also at those that it will get.
func allNodePortAddresses(options backend.Options) bool {
	everything := func(network netip.Prefix) bool { return network.Bits() == 0 }
	return len(options.NodePortAddresses) == 0 || slices.ContainsFunc(options.NodePortAddresses, everything)
}

// nodePortRules must stay the last rules of KUBE-SERVICES: a load balancer's address may be an address of the node, too.
//
//	-m comment --comment "kubernetes service nodeports; …" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
//	-d 192.168.1.2/32 -m comment --comment "kubernetes service nodeports; …" -j KUBE-NODEPORTS
func (l *layout) nodePortRules(own []netip.Addr) []string {
	const comment = `-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"`
	if allNodePortAddresses(l.Options) {
		destination := ""
		switch {
		case l.ipv6():
			destination = "! -d ::1/128 "
		case !l.LocalhostNodePorts:
			destination = "! -d 127.0.0.0/8 "
		}
		return []string{destination + comment + ` -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`}
	}
	var rules []string
	for _, address := range own {
		rules = append(rules, fmt.Sprintf("-d %s %s -j KUBE-NODEPORTS", host(address), comment))
	}
	return rules
}

func (l *layout) ipv6() bool { return l.Family == corev1.IPv6Protocol }

// mark is the mask and value of MasqueradeMark, as iptables-save prints it: 0x4000.
func (l *layout) mark() string { return fmt.Sprintf("%#x", l.MasqueradeMark()) }

// unreachable is how a client hears that a Service has no endpoints.
func (l *layout) unreachable() string {
	if l.ipv6() {
		return "icmp6-port-unreachable"
	}
	return "icmp-port-unreachable"
}

// wholeAddress is the mask with which session affinity tells clients apart: all of their address.
func (l *layout) wholeAddress() string {
	if l.ipv6() {
		return "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	return "255.255.255.255"
}

// host is the prefix that holds only the address: 10.96.0.1/32, fd00::1/128.
func host(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, address.BitLen()) }
