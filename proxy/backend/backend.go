// Package backend is the contract between the plan of a node's service proxy and the modes that put it into a kernel:
// iptables, nftables, ipvs and userspace, a folder each beside this one.
//
// A mode is a New function that returns a Backend for one address family, and a Cleanup function that removes every trace
// of the mode from the network namespace of the calling thread.
package backend

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/plan"
)

// Backend makes the kernel equal to plans whose addresses are all of one family. Its methods are called by one goroutine,
// which is locked to a thread in the network namespace to program.
type Backend interface {
	// Replace makes the kernel equal to the whole plan, whatever is there: what another process of the same mode left is
	// taken over, and what is right already is not touched. After an error the kernel is somewhere between; call Replace again.
	Replace(context.Context, plan.Plan) error
	// Update programs the Services in the plan and no others. A Service without ports is removed. It comes after a Replace
	// that succeeded. After an error the kernel is somewhere between; call Replace.
	Update(context.Context, plan.Plan) error
	// Difference says in a few words where the kernel is not as the backend left it; empty when it is. It is called about
	// once a second, so it must cost next to nothing while nothing changed.
	Difference(context.Context) (string, error)
}

// RuleCounter is a Backend that says how many rules it has, for metrics.
type RuleCounter interface {
	// RuleCounts counts the rules of each table. It is called after every Replace and Update, so it must cost next to nothing.
	RuleCounts() map[string]RuleCount
}

// RuleCount counts the rules of a table: those in the kernel, and those that the last Replace or Update wrote.
type RuleCount struct {
	Total, Last int
}

// Options are the facts of a node that the rules of every mode depend on.
type Options struct {
	// Family is the address family that the backend serves. Addresses below are all of it.
	Family corev1.IPFamily
	// ClusterCIDR holds the addresses of all Pods: what comes from elsewhere to a ClusterIP is masqueraded. With the zero
	// Prefix it is not.
	ClusterCIDR netip.Prefix
	// NodeIPs are the node's own addresses: a loadBalancerSourceRange that holds one admits the node itself.
	NodeIPs []netip.Addr
	// NodePortAddresses are the networks of the node's own addresses at which node ports are served; empty for all.
	NodePortAddresses []netip.Prefix
	// LocalhostNodePorts serves node ports on 127.0.0.1, too. Only iptables can, and it needs the sysctl
	// net.ipv4.conf.all.route_localnet; the other modes never do, as kube-proxy's.
	LocalhostNodePorts bool
	// MasqueradeAll masquerades everything that is sent to a ClusterIP.
	MasqueradeAll bool
	// MasqueradeBit is the bit of the packet mark that says that a packet is to be masqueraded, 0 to 31.
	MasqueradeBit int
}

// MasqueradeMark is the packet mark with only MasqueradeBit set.
func (o Options) MasqueradeMark() uint32 { return 1 << o.MasqueradeBit }
