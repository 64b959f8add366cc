package ipvs

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
)

// DefaultScheduler is round robin.
const DefaultScheduler = "rr"

// Schedulers lists IPVS's ways to choose a destination; each is a kernel module named ip_vs_ and then this.
func Schedulers() []string {
	return []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh", "fo", "ovf"}
}

// Config is what IPVS needs to know besides backend.Options.
type Config struct {
	// Scheduler is one of Schedulers; empty for DefaultScheduler.
	Scheduler string
	// StrictARP lets a link answer ARP only for its own addresses (sysctls arp_ignore, arp_announce). Without it every node
	// answers for each load balancer's address that is in its network, because kube-ipvs0 holds it.
	StrictARP bool
}

// Backend makes a network namespace's virtual servers, sets, addresses and rules equal to plans. It is not safe for
// concurrent use, and all its methods must be called on threads in the namespace in which it was made.
type Backend struct {
	kernel kernel
	facts  facts
	state  state
	// retiring are the virtual servers that have destinations of weight 0, which still have connections.
	retiring map[server]bool
	// ruleText is what the rules looked like when they were written, and generation is the last one at which they still did.
	ruleText   string
	generation uint32
	unchanged  bool
	// nextServer and nextSet are where Difference goes on comparing.
	nextServer, nextSet int
}

// New makes a backend, sets the sysctls that IPVS needs, and opens its netlink sockets in the calling thread's network
// namespace. It returns an error that says what to do where the kernel lacks IPVS or the scheduler.
func New(options backend.Options, config Config) (*Backend, error) {
	if config.Scheduler == "" {
		config.Scheduler = DefaultScheduler
	}
	if !slices.Contains(Schedulers(), config.Scheduler) {
		return nil, fmt.Errorf("start ipvs: unknown scheduler %q; there are %q", config.Scheduler, Schedulers())
	}
	if err := requireModules(config.Scheduler); err != nil {
		return nil, err
	}
	if err := setSysctls(options.Family, config.StrictARP); err != nil {
		return nil, err
	}
	options.ClusterCIDR = options.ClusterCIDR.Masked()
	k, err := openKernel(options)
	if err != nil {
		return nil, err
	}
	return newBackend(options, config.Scheduler, k), nil
}

func newBackend(options backend.Options, scheduler string, k kernel) *Backend {
	if options.Family == "" {
		options.Family = corev1.IPv4Protocol
	}
	return &Backend{
		kernel:   k,
		facts:    facts{options: options, scheduler: scheduler},
		state:    newState(),
		retiring: map[server]bool{},
	}
}

// Replace makes the kernel equal to the whole plan. Sets come before the rules that match them, rules before the virtual
// servers, and addresses last: a Service that was there before works all the while.
func (b *Backend) Replace(ctx context.Context, p plan.Plan) error {
	if err := b.kernel.makeLink(); err != nil {
		return err
	}
	if err := b.kernel.makeSets(); err != nil {
		return err
	}
	held, node, err := b.kernel.addresses()
	if err != nil {
		return err
	}
	if node.broadcasts, err = b.kernel.broadcasts(); err != nil {
		return err
	}
	b.facts.node = node
	b.state, b.retiring = newState(), map[server]bool{}
	b.state.update(p, b.facts)

	staleEntries, err := b.replaceEntries()
	if err != nil {
		return err
	}
	if err := b.replaceRules(ctx); err != nil {
		return err
	}
	staleServers, err := b.replaceServers()
	if err != nil {
		return err
	}
	if err := b.replaceAddresses(held); err != nil {
		return err
	}
	for _, s := range staleServers {
		if err := b.kernel.deleteServer(s); err != nil {
			return err
		}
	}
	for _, e := range staleEntries {
		if err := b.kernel.deleteEntry(e); err != nil {
			return err
		}
	}
	return nil
}

// Update programs the Services in p: what refuses is entered first, what routes to IPVS last; the other way where it goes.
func (b *Backend) Update(_ context.Context, p plan.Plan) error {
	c := b.state.update(p, b.facts)
	if err := b.addEntries(c); err != nil {
		return err
	}
	if err := b.updateServers(c); err != nil {
		return err
	}
	if err := b.updateAddresses(c); err != nil {
		return err
	}
	if err := b.deleteServers(c); err != nil {
		return err
	}
	return b.deleteEntries(c)
}
