package userspace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

const (
	tableFilter = "filter"
	tableNAT    = "nat"
)

// chain is one chain of one table.
type chain struct{ table, name string }

// The chains' names are kube-proxy's, but for KUBE-PORTALS-FILTER: kube-proxy's userspace mode had no firewall, served everyone at
// its proxy ports, and let clients of a Service without endpoints connect before it hung up.
var (
	portalsContainer   = chain{tableNAT, "KUBE-PORTALS-CONTAINER"}
	portalsHost        = chain{tableNAT, "KUBE-PORTALS-HOST"}
	nodePortsContainer = chain{tableNAT, "KUBE-NODEPORT-CONTAINER"}
	nodePortsHost      = chain{tableNAT, "KUBE-NODEPORT-HOST"}
	nodePortsAccept    = chain{tableFilter, "KUBE-NODEPORT-NON-LOCAL"}
	portalsFilter      = chain{tableFilter, "KUBE-PORTALS-FILTER"}
)

// chains are all chains of the mode.
var chains = []chain{portalsContainer, portalsHost, nodePortsContainer, nodePortsHost, nodePortsAccept, portalsFilter}

// rules are those of one Service: for each chain what iptables-save prints after "-A CHAIN ", in order. Rules of different
// Services never match the same packet.
type rules map[chain][]string

// proxyPorts are the ports of this process that serve a Service port; 0 where it has no endpoints of that kind.
type proxyPorts struct {
	cluster uint16 // spreads over plan.Port.Cluster
	local   uint16 // spreads over plan.Port.Local
}

// portRules writes the rules of one Service port.
type portRules struct {
	rules
	options backend.Options
	port    *plan.Port
	reached proxyPorts
}

func (b portRules) build() {
	internal := b.reached.cluster
	if b.port.InternalLocal {
		internal = b.reached.local
	}
	everyone := []netip.Prefix{{}}
	if internal != 0 {
		for _, c := range []chain{portalsContainer, portalsHost} {
			b.lead(c, everyone, b.to(b.port.ClusterIP), internal)
		}
	} else {
		b.refuse(b.to(b.port.ClusterIP))
	}
	for _, address := range b.port.ExternalIPs {
		b.captureExternal(portalsContainer, portalsHost, everyone, b.to(address))
	}
	for _, address := range b.port.LoadBalancerIPs {
		b.captureExternal(portalsContainer, portalsHost, b.admitted(), b.to(address))
		if len(b.port.SourceRanges) > 0 && b.port.HasEndpoints {
			b.add(portalsFilter, b.to(address).match(netip.Prefix{}, "traffic not accepted by loadBalancerSourceRanges")+" -j DROP")
		}
	}
	if b.port.NodePort != 0 {
		b.captureNodePort(everyone)
	}
	for _, proxyPort := range []uint16{b.reached.cluster, b.reached.local} {
		if proxyPort != 0 {
			b.closed(proxyPort)
		}
	}
	if b.port.HealthCheckNodePort != 0 {
		b.add(nodePortsAccept, fmt.Sprintf(`-p tcp -m comment --comment "%s health check node port" -m tcp --dport %d -j ACCEPT`,
			b.port.Name, b.port.HealthCheckNodePort))
	}
}

func (b portRules) captureNodePort(sources []netip.Prefix) {
	to := destination{port: b.port.NodePort, protocol: b.port.Protocol, service: b.port.Name.String()}
	b.captureExternal(nodePortsContainer, nodePortsHost, sources, to)
	for _, proxyPort := range []uint16{b.reached.cluster, b.reached.local} {
		if proxyPort == 0 || !b.port.ExternalLocal && proxyPort == b.reached.local {
			continue
		}
		// -A KUBE-NODEPORT-NON-LOCAL -p tcp -m comment --comment "ns/svc:port" -m tcp --dport 38111 -m state --state NEW -j ACCEPT
		accept := to
		accept.port = proxyPort
		b.add(nodePortsAccept, accept.match(netip.Prefix{}, "")+" -m state --state NEW -j ACCEPT")
	}
}

// captureExternal leads clients among sources to the endpoints for traffic from outside. With externalTrafficPolicy Local
// Pods and the node itself still reach all endpoints, as in kube-proxy's other modes.
func (b portRules) captureExternal(container, host chain, sources []netip.Prefix, to destination) {
	external := b.reached.cluster
	if b.port.ExternalLocal {
		external = b.reached.local
		if b.options.ClusterCIDR.IsValid() {
			b.lead(container, within(sources, b.options.ClusterCIDR), to, b.reached.cluster)
		}
	}
	b.lead(container, sources, to, external)
	b.lead(host, sources, to, b.reached.cluster)
	if len(b.port.ExternalEndpoints()) == 0 {
		b.refuse(to)
	}
}

// lead writes a rule for each source:
//
//	-A KUBE-PORTALS-CONTAINER -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https" -m tcp --dport 443 -j REDIRECT --to-ports 38111
//	-A KUBE-PORTALS-HOST -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https" -m tcp --dport 443 -j DNAT --to-destination 172.30.0.2:38111
//
// What comes from elsewhere goes to the address that the interface has on which it came. What the node sends itself would go
// to 127.0.0.1 that way, so it goes to the node's address.
func (b portRules) lead(c chain, sources []netip.Prefix, to destination, proxyPort uint16) {
	if proxyPort == 0 {
		return
	}
	target := fmt.Sprintf(" -j REDIRECT --to-ports %d", proxyPort)
	if (c == portalsHost || c == nodePortsHost) && len(b.options.NodeIPs) > 0 {
		target = " -j DNAT --to-destination " + netip.AddrPortFrom(b.options.NodeIPs[0], proxyPort).String()
	}
	for _, source := range sources {
		b.add(c, to.match(source, "")+target)
	}
}

// closed refuses clients that no rule has led to the proxy port: they would go around policies and source ranges.
func (b portRules) closed(proxyPort uint16) {
	to := destination{port: proxyPort, protocol: b.port.Protocol, service: b.port.Name.String(), local: true}
	b.add(portalsFilter, to.match(netip.Prefix{}, "proxy port")+" -m conntrack ! --ctstate DNAT"+b.reject())
}

// refuse: without any endpoint clients hear of it at once; without a local one they are left without an answer, as a load
// balancer's probes expect.
func (b portRules) refuse(to destination) {
	to.local = !to.address.IsValid()
	if b.port.HasEndpoints {
		b.add(portalsFilter, to.match(netip.Prefix{}, "has no local endpoints")+" -j DROP")
		return
	}
	b.add(portalsFilter, to.match(netip.Prefix{}, "has no endpoints")+b.reject())
}

func (b portRules) reject() string {
	if b.options.Family == corev1.IPv6Protocol {
		return " -j REJECT --reject-with icmp6-port-unreachable"
	}
	return " -j REJECT --reject-with icmp-port-unreachable"
}

// admitted are the clients that may use the load balancer's addresses. A node that is admitted and holds such an address
// uses it as its source when it calls it.
func (b portRules) admitted() []netip.Prefix {
	if len(b.port.SourceRanges) == 0 {
		return []netip.Prefix{{}}
	}
	admitted := slices.Clone(b.port.SourceRanges)
	for _, prefix := range b.port.SourceRanges {
		if slices.ContainsFunc(b.options.NodeIPs, prefix.Contains) {
			for _, address := range b.port.LoadBalancerIPs {
				admitted = append(admitted, netip.PrefixFrom(address, address.BitLen()))
			}
			break
		}
	}
	return admitted
}

func (b portRules) add(c chain, rule string) { b.rules[c] = append(b.rules[c], rule) }

func (b portRules) to(address netip.Addr) destination {
	return destination{address: address, port: b.port.Port, protocol: b.port.Protocol, service: b.port.Name.String()}
}

// destination is where a client of a Service sends to.
type destination struct {
	address  netip.Addr // the zero Addr for a node port
	port     uint16
	protocol corev1.Protocol
	service  string
	local    bool // only at the node's own addresses
}

// match is the part of a rule before its target. The zero source matches everyone.
func (d destination) match(source netip.Prefix, remark string) string {
	var rule strings.Builder
	if source.IsValid() && source.Bits() > 0 {
		fmt.Fprintf(&rule, "-s %s ", source)
	}
	if d.address.IsValid() {
		fmt.Fprintf(&rule, "-d %s/%d ", d.address, d.address.BitLen())
	}
	protocol := strings.ToLower(string(d.protocol))
	fmt.Fprintf(&rule, `-p %s -m comment --comment "%s"`, protocol, strings.TrimSpace(d.service+" "+remark))
	if d.local {
		rule.WriteString(" -m addrtype --dst-type LOCAL")
	}
	fmt.Fprintf(&rule, " -m %s --dport %d", protocol, d.port)
	return rule.String()
}

// within is the part of each prefix that lies in network; the zero Prefix holds every address.
func within(prefixes []netip.Prefix, network netip.Prefix) []netip.Prefix {
	var parts []netip.Prefix
	for _, prefix := range prefixes {
		switch {
		case !prefix.IsValid() || prefix.Bits() <= network.Bits() && prefix.Contains(network.Addr()):
			parts = append(parts, network)
		case network.Contains(prefix.Addr()):
			parts = append(parts, prefix)
		}
	}
	return parts
}
