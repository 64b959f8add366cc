package userspace

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/kubelite/kubelite/proxy/backend"
	corev1 "k8s.io/api/core/v1"
)

// jump is a rule in one of netfilter's own chains that leads into one of the mode's.
type jump struct {
	edit string // "-I" for the head of the chain, "-A" for its end
	from chain
	rule string
}

// jumps are kube-proxy's: portals first, node ports last, since a load balancer's address may be the node's own. Those that the
// proxy's own packets would come to leave these alone.
func jumps(options backend.Options) []jump {
	prerouting, output := chain{tableNAT, "PREROUTING"}, chain{tableNAT, "OUTPUT"}
	const (
		portals = `-m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j `
		ports   = `-m addrtype --dst-type LOCAL -m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain" -j `
		fresh   = `-m conntrack --ctstate NEW `
		refuse  = `-m comment --comment "services without endpoints and load balancer firewall" -j KUBE-PORTALS-FILTER`
	)
	others := others(options)
	all := []jump{
		{"-I", prerouting, portals + portalsContainer.name},
		{"-I", output, others + portals + portalsHost.name},
		{"-I", chain{tableFilter, "INPUT"}, `-m comment --comment "Ensure that non-local NodePort traffic can flow" -j ` + nodePortsAccept.name},
		{"-I", chain{tableFilter, "INPUT"}, fresh + others + refuse},
		{"-I", chain{tableFilter, "FORWARD"}, fresh + refuse},
		{"-I", chain{tableFilter, "OUTPUT"}, fresh + others + refuse},
	}
	for _, network := range nodePortNetworks(options) {
		all = append(all, jump{"-A", prerouting, network + ports + nodePortsContainer.name})
		all = append(all, jump{"-A", output, network + others + ports + nodePortsHost.name})
	}
	return all
}

// nodePortNetworks are matches of the node's addresses at which node ports are served: none of 127.0.0.0/8, in whatever network that is.
func nodePortNetworks(options backend.Options) []string {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	if options.Family == corev1.IPv6Protocol {
		loopback = netip.MustParsePrefix("::1/128")
	}
	everywhere := []string{fmt.Sprintf("! -d %s ", loopback)}
	if len(options.NodePortAddresses) == 0 {
		return everywhere
	}
	var networks []string
	for _, network := range options.NodePortAddresses {
		switch {
		case network.Bits() == 0:
			return everywhere
		case network.Bits() >= loopback.Bits() && loopback.Contains(network.Addr()):
		default:
			networks = append(networks, fmt.Sprintf("-d %s ", network.Masked()))
		}
	}
	return networks
}

// target is the chain that a rule leads to; empty for none.
func target(rule string) string {
	_, name, _ := strings.Cut(rule, " -j ")
	name, _, _ = strings.Cut(name, " ")
	return name
}
