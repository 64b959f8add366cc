package ipvs

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/backend"
)

// chain is one chain of a table, with its rules as iptables-save prints them after "-A CHAIN ".
type chain struct {
	table, name string
	rules       []string
}

// jump is a rule in one of netfilter's own chains that leads into one of these.
type jump struct{ table, from, rule string }

// line is the jump as iptables-save prints it.
func (j jump) line() string { return "-A " + j.from + " " + j.rule }

// target is the chain that the jump leads to.
func (j jump) target() string { return j.rule[strings.LastIndex(j.rule, " ")+1:] }

// jumps are in the order in which they are put at the head of their chains, so the last of a chain comes first.
var jumps = []jump{
	{"filter", "FORWARD", `-m comment --comment "kubernetes forwarding rules" -j KUBE-IPVS-FORWARD`},
	{"filter", "INPUT", `-m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT`},
	{"filter", "INPUT", `-m comment --comment "kube-proxy firewall rules" -j KUBE-IPVS-FIREWALL`},
	{"filter", "INPUT", `-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER`},
	{"mangle", "OUTPUT", `-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER`},
	{"nat", "OUTPUT", `-m comment --comment "kubernetes service portals" -j KUBE-IPVS-SERVICES`},
	{"nat", "POSTROUTING", `-m comment --comment "kubernetes postrouting rules" -j KUBE-IPVS-POSTROUTING`},
	{"nat", "PREROUTING", `-m comment --comment "kubernetes service portals" -j KUBE-IPVS-SERVICES`},
}

// ruleBuilder writes the rules of one family, each as iptables-save prints it.
type ruleBuilder struct{ backend.Options }

// in matches packets by a set: "dst,dst" compares a packet's destination address and port.
func (b ruleBuilder) in(s *set, directions string) string {
	return fmt.Sprintf("-m set --match-set %s %s ", s.nameFor(b.Family), directions)
}

// commented is in with the set's comment before it.
func (b ruleBuilder) commented(s *set, directions string) string {
	return fmt.Sprintf(`-m comment --comment "%s" `, s.comment) + b.in(s, directions)
}

const (
	isNew      = "-m conntrack --ctstate NEW "
	fromNode   = "-m addrtype --src-type LOCAL "
	fromOthers = "-m addrtype ! --src-type LOCAL "
	masquerade = "-j KUBE-IPVS-MARK-MASQ"
)

// chains are all chains with all their rules, sorted by table. They depend on the node's options but on no Service.
func chains(options backend.Options) []chain {
	b := ruleBuilder{options}
	return []chain{
		{"filter", "KUBE-IPVS-FILTER", b.accessFilter()},
		{"filter", "KUBE-IPVS-FIREWALL", b.firewall()},
		{"filter", "KUBE-IPVS-FORWARD", []string{
			fmt.Sprintf(`-m comment --comment "kubernetes forwarding rules" -m mark --mark %[1]s/%[1]s -j ACCEPT`, b.mark()),
			`-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
		}},
		{"filter", "KUBE-NODE-PORT", []string{b.commented(healthCheck, "dst") + "-j ACCEPT"}},
		{"filter", "KUBE-SOURCE-RANGES-FIREWALL", []string{
			b.commented(balancerCIDR, "dst,dst,src") + "-j RETURN",
			b.commented(balancerIP, "dst,dst,src") + "-j RETURN",
			"-j DROP",
		}},
		{"mangle", "KUBE-IPVS-OUT-FILTER", b.outFilter()},
		{"nat", "KUBE-IPVS-MARK-MASQ", []string{fmt.Sprintf("-j MARK --set-xmark %[1]s/%[1]s", b.mark())}},
		{"nat", "KUBE-IPVS-POSTROUTING", []string{
			b.commented(loopBack, "dst,dst,src") + "-j MASQUERADE",
			fmt.Sprintf("-m mark ! --mark %[1]s/%[1]s -j RETURN", b.mark()),
			// Cleared, so that a packet that passes here twice is not masqueraded twice.
			fmt.Sprintf("-j MARK --set-xmark %s/0x0", b.mark()),
			`-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`,
		}},
		{"nat", "KUBE-IPVS-SERVICES", b.services()},
		{"nat", "KUBE-LOAD-BALANCER", []string{
			b.commented(balancerLocal, "dst,dst") + fromOthers + "-j RETURN",
			masquerade,
		}},
		{"nat", "KUBE-NODE-PORT", b.nodePorts()},
	}
}

func (b ruleBuilder) mark() string { return fmt.Sprintf("%#x", b.MasqueradeMark()) }

// services marks new connections that are to be masqueraded, while they are still sent to the Service's address.
func (b ruleBuilder) services() []string {
	loopback := "127.0.0.0/8"
	if b.Family == corev1.IPv6Protocol {
		loopback = "::1/128"
	}
	// The node's own processes use the address that they call as their source, since kube-ipvs0 holds it.
	ofCluster := b.commented(clusterIP, "src,dst")
	switch {
	case b.MasqueradeAll:
		ofCluster = b.commented(clusterIP, "dst,dst")
	case b.ClusterCIDR.IsValid():
		ofCluster = fmt.Sprintf("! -s %s ", b.ClusterCIDR) + b.commented(clusterIP, "dst,dst")
	}
	return []string{
		"-s " + loopback + " -j RETURN",
		b.commented(loadBalancer, "dst,dst") + "-j KUBE-LOAD-BALANCER",
		ofCluster + masquerade,
		b.commented(externalIP, "dst,dst") + masquerade,
		b.commented(externalLocal, "dst,dst") + fromNode + masquerade,
		// What is sent to a Service is for IPVS: no further rule may translate it.
		b.in(clusterIP, "dst,dst") + "-j ACCEPT",
		b.in(loadBalancer, "dst,dst") + "-j ACCEPT",
		b.in(externalIP, "dst,dst") + "-j ACCEPT",
		b.in(externalLocal, "dst,dst") + "-j ACCEPT",
		"-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
	}
}

func (b ruleBuilder) nodePorts() []string {
	var rules []string
	for _, protocol := range protocols {
		directions := "dst"
		if nodePorts[protocol].kind == hashIPPort {
			directions = "dst,dst"
		}
		prefix := "-p " + strings.ToLower(string(protocol)) + " "
		rules = append(rules,
			prefix+b.commented(nodePortsLocal[protocol], directions)+fromOthers+"-j RETURN",
			prefix+b.commented(nodePorts[protocol], directions)+masquerade)
	}
	return rules
}

// firewall drops what comes from elsewhere and may not use a load balancer, or has no local endpoint.
func (b ruleBuilder) firewall() []string {
	outside := ""
	if b.ClusterCIDR.IsValid() {
		outside = fmt.Sprintf("! -s %s ", b.ClusterCIDR)
	}
	return []string{
		b.commented(balancerFW, "dst,dst") + isNew + "-j KUBE-SOURCE-RANGES-FIREWALL",
		b.commented(clusterNoLocal, "dst,dst") + isNew + "-j DROP",
		outside + b.commented(outsideNoLocal, "dst,dst") + isNew + "-j DROP",
	}
}

// outFilter is firewall for the node's own processes. IPVS takes their packets before the filter table sees them.
func (b ruleBuilder) outFilter() []string {
	return []string{
		b.commented(clusterNoLocal, "dst,dst") + isNew + "-j DROP",
		b.commented(balancerCIDR, "dst,dst,src") + "-j RETURN",
		b.commented(balancerIP, "dst,dst,src") + "-j RETURN",
		b.commented(balancerFW, "dst,dst") + isNew + "-j DROP",
	}
}

// accessFilter refuses what is sent to a Service's address but to none of its ports: since kube-ipvs0 holds the address, it
// would reach what listens on all the node's addresses, such as its SSH server.
func (b ruleBuilder) accessFilter() []string {
	reject := "icmp-port-unreachable"
	if b.Family == corev1.IPv6Protocol {
		reject = "icmp6-port-unreachable"
	}
	var rules []string
	for _, s := range []*set{loadBalancer, clusterIP, externalIP, externalLocal} {
		rules = append(rules, b.in(s, "dst,dst")+"-j RETURN")
	}
	return append(rules,
		b.in(healthCheck, "dst")+"-j RETURN",
		isNew+b.in(ipvsIPs, "dst")+"-j REJECT --reject-with "+reject)
}

// ruleText is all chains and jumps as selectRules finds them in what iptables-save prints.
func ruleText(options backend.Options) string {
	var text strings.Builder
	for _, c := range chains(options) {
		for _, rule := range c.rules {
			fmt.Fprintf(&text, "%s -A %s %s\n", c.table, c.name, rule)
		}
	}
	for _, j := range jumps {
		fmt.Fprintf(&text, "%s %s\n", j.table, j.line())
	}
	return text.String()
}

// selectRules finds the chains and jumps of this package in what iptables-save prints. Jumps are recognised by where they
// lead, and one that is missing or somewhere twice shows.
func selectRules(saved string) string {
	rules, found := map[string][]string{}, map[jump]int{}
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSuffix(line, "\n")
		if name, isTable := strings.CutPrefix(line, "*"); isTable {
			table = name
		}
		if !strings.HasPrefix(line, "-A ") {
			continue
		}
		name, _, _ := strings.Cut(line[len("-A "):], " ")
		rules[table+" "+name] = append(rules[table+" "+name], table+" "+line+"\n")
		for _, j := range jumps {
			if j.table == table && j.from == name && strings.HasSuffix(line, "-j "+j.target()) {
				found[j]++
			}
		}
	}
	var text strings.Builder
	for _, c := range chains(backend.Options{}) {
		text.WriteString(strings.Join(rules[c.table+" "+c.name], ""))
	}
	for _, j := range jumps {
		text.WriteString(strings.Repeat(j.table+" "+j.line()+"\n", found[j]))
	}
	return text.String()
}

// restoreText is the input of iptables-restore --noflush that makes the rules ruleText, wherever saved says that they are not.
func restoreText(options backend.Options, saved string) string {
	present := selectRules(saved)
	var text strings.Builder
	all := chains(options)
	for _, table := range []string{"filter", "mangle", "nat"} {
		text.WriteString("*" + table + "\n")
		inTable := func(c chain) bool { return c.table != table }
		for _, c := range slices.DeleteFunc(slices.Clone(all), inTable) {
			fmt.Fprintf(&text, ":%s - [0:0]\n", c.name)
		}
		for _, c := range slices.DeleteFunc(slices.Clone(all), inTable) {
			for _, rule := range c.rules {
				fmt.Fprintf(&text, "-A %s %s\n", c.name, rule)
			}
		}
		for _, j := range jumps {
			if j.table == table && !strings.Contains(present, j.table+" "+j.line()+"\n") {
				fmt.Fprintf(&text, "-I %s %s\n", j.from, j.rule)
			}
		}
		text.WriteString("COMMIT\n")
	}
	return text.String()
}

// firstDifference is the first line that is not the same.
func firstDifference(expected, actual string) string {
	a, b := strings.Split(expected, "\n"), strings.Split(actual, "\n")
	for i := range max(len(a), len(b)) {
		line := func(lines []string) string {
			if i < len(lines) && lines[i] != "" {
				return lines[i]
			}
			return "nothing"
		}
		if line(a) != line(b) {
			return fmt.Sprintf("%q instead of %q", line(b), line(a))
		}
	}
	return "the same"
}
