package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// chainRules is a chain with all its rules, each as iptables-save prints it after "-A CHAIN ".
type chainRules struct {
	chain
	rules []string
}

// localnetComment is the rule's that drops what neighbours send to 127.0.0.0/8.
const localnetComment = "block incoming localnet connections"

// baseChains are the chains that are there even when there is no Service, without the shared ones.
func (l *layout) baseChains() []chainRules {
	var firewall, forward []string
	if !l.ipv6() && l.LocalhostNodePorts {
		// route_localnet lets neighbours reach what listens on 127.0.0.1 only; this takes that away again.
		firewall = append(firewall, `! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "`+localnetComment+`"`+
			` -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`)
	}
	if !l.keepInvalid {
		// An answer that connection tracking does not know is not translated back: its receiver would end the connection.
		forward = append(forward, `-m conntrack --ctstate INVALID -j DROP`)
	}
	return []chainRules{
		{chain{tableMangle, canaryName}, nil},
		{chain{tableFilter, canaryName}, nil},
		{filterFirewall, firewall},
		{filterForward, append(forward,
			fmt.Sprintf(`-m comment --comment "kubernetes forwarding rules" -m mark --mark %[1]s/%[1]s -j ACCEPT`, l.mark()),
			`-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
		)},
		{chain{tableNAT, canaryName}, nil},
		{natPostrouting, []string{
			fmt.Sprintf(`-m mark ! --mark %[1]s/%[1]s -j RETURN`, l.mark()),
			// Cleared, so that a packet that passes here twice is not masqueraded twice.
			fmt.Sprintf(`-j MARK --set-xmark %s/0x0`, l.mark()),
			`-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`,
		}},
		{natMarkMasq, []string{
			fmt.Sprintf(`-j MARK --set-xmark %[1]s/%[1]s`, l.mark()),
		}},
	}
}

// jump is a rule in one of netfilter's own chains that leads into the proxy's.
type jump struct {
	from chain
	rule string
}

// in says whether a rule that leads to the same chain is among rules. Its other words are not compared: an iptables that
// prints them differently would get one jump more at each rebuild.
func (j jump) in(rules []string) bool {
	target := j.rule[strings.LastIndex(j.rule, "-j "):]
	return slices.ContainsFunc(rules, func(rule string) bool { return strings.HasSuffix(rule, target) })
}

// jumps are in the order in which they are put at the head of their chains, so the last one of a chain comes first.
var jumps = func() []jump {
	input, forward, output := chain{tableFilter, "INPUT"}, chain{tableFilter, "FORWARD"}, chain{tableFilter, "OUTPUT"}
	const (
		fresh    = `-m conntrack --ctstate NEW `
		portals  = `-m comment --comment "kubernetes service portals" -j KUBE-SERVICES`
		external = fresh + `-m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`
		balancer = fresh + `-m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`
	)
	return []jump{
		{input, external},
		{forward, external},
		{input, `-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS`},
		{forward, fresh + portals},
		{output, fresh + portals},
		{forward, `-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD`},
		{input, balancer},
		{output, balancer},
		{forward, balancer},
		{chain{tableNAT, "OUTPUT"}, portals},
		{chain{tableNAT, "PREROUTING"}, portals},
		{chain{tableNAT, "POSTROUTING"}, `-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING`},
		{input, `-j KUBE-FIREWALL`},
		{output, `-j KUBE-FIREWALL`},
	}
}()
