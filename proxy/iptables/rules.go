package iptables

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
)

// serviceRules are the rules of one Service: its own chains, and its rules in the chains that Services share.
type serviceRules struct {
	own    []chainRules
	shared map[chain][]string
}

// rules are those of a Service with these ports.
func (l *layout) rules(ports []plan.Port) serviceRules {
	rules := serviceRules{shared: map[chain][]string{}}
	for i := range ports {
		builder := portBuilder{
			serviceRules: &rules,
			layout:       l,
			port:         &ports[i],
			chains:       chainsOf(&ports[i]),
			name:         ports[i].Name.String(),
			protocol:     protocol(&ports[i]),
		}
		builder.build()
	}
	return rules
}

// portBuilder writes the rules of one Service port. The order of rules and the words of comments are kube-proxy's; each
// rule is written as iptables-save prints it, so that what is written and what is read back are the same text.
type portBuilder struct {
	*serviceRules
	*layout
	port     *plan.Port
	chains   portChains
	name     string
	protocol string
}

func (b *portBuilder) build() {
	b.captureClusterIP()
	b.captureExternal()
	if b.port.HealthCheckNodePort != 0 {
		// -A KUBE-NODEPORTS -p tcp -m comment --comment "ns/svc:port health check node port" -m tcp --dport 30000 -j ACCEPT
		b.share(filterNodePorts, fmt.Sprintf(`-p tcp -m comment --comment "%s health check node port" -m tcp --dport %d -j ACCEPT`,
			b.name, b.port.HealthCheckNodePort))
	}
	if b.port.HasEndpoints && b.port.External() {
		b.writeExternalChain()
	}
	if b.usesFirewall() {
		b.writeFirewallChain()
	}
	b.writePolicyChain(b.chains.cluster, b.port.Cluster, !b.port.InternalLocal)
	b.writePolicyChain(b.chains.local, b.port.Local, b.port.InternalLocal)
	for _, endpoint := range b.port.Reachable() {
		b.writeEndpointChain(endpoint)
	}
}

func (b *portBuilder) share(c chain, rule string) { b.shared[c] = append(b.shared[c], rule) }

func (b *portBuilder) write(name string, rules ...string) {
	b.own = append(b.own, chainRules{chain{tableNAT, name}, rules})
}

// to matches what is sent to a Service's address:
// -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443
func (b *portBuilder) to(address netip.Addr, comment string) string {
	return fmt.Sprintf(`-d %s -p %s -m comment --comment "%s %s" -m %s --dport %d`,
		host(address), b.protocol, b.name, comment, b.protocol, b.port.Port)
}

// refusal is the end of a filter rule for traffic that has nowhere to go, and its comment. Without any endpoint clients
// hear of it at once; without a local one they are left without an answer, as a load balancer's probes expect.
func (b *portBuilder) refusal() (comment, target string) {
	if !b.port.HasEndpoints {
		return "has no endpoints", " -j REJECT --reject-with " + b.unreachable()
	}
	return "has no local endpoints", " -j DROP"
}

func (b *portBuilder) captureClusterIP() {
	if len(b.port.InternalEndpoints()) > 0 {
		target := b.chains.cluster
		if b.port.InternalLocal {
			target = b.chains.local
		}
		b.share(natServices, b.to(b.port.ClusterIP, "cluster IP")+" -j "+target)
		return
	}
	comment, target := b.refusal()
	b.share(filterServices, b.to(b.port.ClusterIP, comment)+target)
}

func (b *portBuilder) captureExternal() {
	refused := len(b.port.ExternalEndpoints()) == 0
	comment, refusal := b.refusal()
	for _, address := range b.port.ExternalIPs {
		if b.port.HasEndpoints {
			b.share(natServices, b.to(address, "external IP")+" -j "+b.chains.external)
		}
		if refused {
			b.share(filterExternalServices, b.to(address, comment)+refusal)
		}
	}
	for _, address := range b.port.LoadBalancerIPs {
		switch {
		case b.usesFirewall():
			b.share(natServices, b.to(address, "loadbalancer IP")+" -j "+b.chains.firewall)
			b.share(filterProxyFirewall, b.to(address, "traffic not accepted by "+b.chains.firewall)+" -j DROP")
		case b.port.HasEndpoints:
			b.share(natServices, b.to(address, "loadbalancer IP")+" -j "+b.chains.external)
		}
		if refused {
			b.share(filterExternalServices, b.to(address, comment)+refusal)
		}
	}
	if b.port.NodePort == 0 {
		return
	}
	if b.port.HasEndpoints {
		b.share(natNodePorts, fmt.Sprintf(`-p %s -m comment --comment "%s" -m %s --dport %d -j %s`,
			b.protocol, b.name, b.protocol, b.port.NodePort, b.chains.external))
	}
	if refused {
		b.share(filterExternalServices, fmt.Sprintf(`-p %s -m comment --comment "%s %s" -m addrtype --dst-type LOCAL -m %s --dport %d%s`,
			b.protocol, b.name, comment, b.protocol, b.port.NodePort, refusal))
	}
}

// writeExternalChain writes KUBE-EXT-…: with externalTrafficPolicy Cluster everything is masqueraded, since the endpoint
// may be on another node; with Local the client's address is kept, but Pods and the node itself still reach all endpoints.
func (b *portBuilder) writeExternalChain() {
	var rules []string
	if !b.port.ExternalLocal {
		rules = append(rules, fmt.Sprintf(`-m comment --comment "masquerade traffic for %s external destinations" -j KUBE-MARK-MASQ`, b.name))
	} else {
		if b.ClusterCIDR.IsValid() {
			rules = append(rules, fmt.Sprintf(`-s %s -m comment --comment "pod traffic for %s external destinations" -j %s`,
				b.ClusterCIDR, b.name, b.chains.cluster))
		}
		rules = append(rules,
			fmt.Sprintf(`-m comment --comment "masquerade LOCAL traffic for %s external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`, b.name),
			fmt.Sprintf(`-m comment --comment "route LOCAL traffic for %s external destinations" -m addrtype --src-type LOCAL -j %s`, b.name, b.chains.cluster))
	}
	if len(b.port.ExternalEndpoints()) > 0 {
		target := b.chains.cluster
		if b.port.ExternalLocal {
			target = b.chains.local
		}
		rules = append(rules, "-j "+target)
	}
	b.write(b.chains.external, rules...)
}

func (b *portBuilder) usesFirewall() bool {
	return b.port.HasEndpoints && len(b.port.LoadBalancerIPs) > 0 && len(b.port.SourceRanges) > 0
}

// writeFirewallChain writes KUBE-FW-…: who may pass goes on to KUBE-EXT-…; who may not is not translated, so it is still
// sent to the load balancer's address when KUBE-PROXY-FIREWALL drops it.
func (b *portBuilder) writeFirewallChain() {
	var rules []string
	admit := func(source string) {
		rules = append(rules, fmt.Sprintf(`-s %s -m comment --comment "%s loadbalancer IP" -j %s`, source, b.name, b.chains.external))
	}
	nodeAdmitted := false
	for _, prefix := range b.port.SourceRanges {
		admit(prefix.String())
		nodeAdmitted = nodeAdmitted || slices.ContainsFunc(b.NodeIPs, prefix.Contains)
	}
	if nodeAdmitted {
		// The node may hold the load balancer's address itself, and then uses it as its source when it calls it.
		for _, address := range b.port.LoadBalancerIPs {
			admit(host(address).String())
		}
	}
	rules = append(rules, fmt.Sprintf(`-m comment --comment "other traffic to %s will be dropped by KUBE-PROXY-FIREWALL"`, b.name))
	b.write(b.chains.firewall, rules...)
}

// writePolicyChain writes KUBE-SVC-… or KUBE-SVL-…, which choose an endpoint:
//
//	! -s 10.244.0.0/16 -d 10.96.0.1/32 … --dport 443 -j KUBE-MARK-MASQ            (where the ClusterIP leads here)
//	-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A … -j KUBE-SEP-A     (session affinity)
//	-m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
//	-j KUBE-SEP-B
func (b *portBuilder) writePolicyChain(name string, endpoints []plan.Endpoint, hasClusterIP bool) {
	if len(endpoints) == 0 {
		return
	}
	rules := make([]string, 0, len(endpoints)+1)
	switch toClusterIP := b.to(b.port.ClusterIP, "cluster IP"); {
	case hasClusterIP && b.MasqueradeAll:
		rules = append(rules, toClusterIP+` -j KUBE-MARK-MASQ`)
	case hasClusterIP && b.ClusterCIDR.IsValid():
		rules = append(rules, fmt.Sprintf(`! -s %s %s -j KUBE-MARK-MASQ`, b.ClusterCIDR, toClusterIP))
	}
	comment := func(endpoint plan.Endpoint) string {
		return b.endpointComment(fmt.Sprintf("%s -> %s", b.name, endpoint))
	}
	if b.port.AffinitySeconds > 0 {
		for _, endpoint := range endpoints {
			target := endpointChain(b.port, endpoint)
			rules = append(rules, fmt.Sprintf(`%s-m recent --rcheck --seconds %d --reap --name %s --mask %s --rsource -j %s`,
				comment(endpoint), b.port.AffinitySeconds, target, b.wholeAddress(), target))
		}
	}
	for i, endpoint := range endpoints {
		rule := comment(endpoint)
		if left := len(endpoints) - i; left > 1 {
			rule += "-m statistic --mode random --probability " + probability(left) + " "
		}
		rules = append(rules, rule+"-j "+endpointChain(b.port, endpoint))
	}
	b.write(name, rules...)
}

// writeEndpointChain writes KUBE-SEP-…: a Pod that reaches itself through the Service is masqueraded, or it would answer
// itself directly, from an address it never called.
//
//	-s 10.244.0.2/32 -m comment --comment "default/kubernetes:https" -j KUBE-MARK-MASQ
//	-p tcp -m comment --comment "default/kubernetes:https" -m recent --set --name KUBE-SEP-A … -m tcp -j DNAT --to-destination 10.244.0.2:6443
func (b *portBuilder) writeEndpointChain(endpoint plan.Endpoint) {
	name, comment := endpointChain(b.port, endpoint), b.endpointComment(b.name)
	remember := ""
	if b.port.AffinitySeconds > 0 {
		remember = fmt.Sprintf(`-m recent --set --name %s --mask %s --rsource `, name, b.wholeAddress())
	}
	b.write(name,
		fmt.Sprintf(`-s %s %s-j KUBE-MARK-MASQ`, host(endpoint.Addr()), comment),
		fmt.Sprintf(`-p %s %s%s-m %s -j DNAT --to-destination %s`, b.protocol, comment, remember, b.protocol, endpoint))
}

// endpointComment is a comment of a rule for an endpoint, with a space behind it.
func (b *portBuilder) endpointComment(text string) string {
	if b.withoutEndpointComments {
		return ""
	}
	return fmt.Sprintf(`-m comment --comment "%s" `, text)
}

// probability is 1/n as the kernel holds it, in 2^-31, and as iptables-save prints that: 1/3 is 0.33333333349.
func probability(n int) string {
	const one = 1 << 31
	rounded := math.Round(1/float64(n)*1e10) / 1e10 // kube-proxy writes ten decimals
	return fmt.Sprintf("%.11f", math.Round(rounded*one)/one)
}
