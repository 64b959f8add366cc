package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubelite/kubelite/proxy"
	"github.com/kubelite/kubelite/proxy/ipvs"
)

// UpOptions is what `kubelite up` was asked for.
type UpOptions struct {
	Config Config
	// Asked says whether the user gave a flag of this name: a cluster that exists keeps its settings, and one that was asked
	// for and differs is refused.
	Asked func(flag string) bool
	// Bundle is the path of the images bundle; empty: none.
	Bundle string
	// Step is told of each step when it has ended, with how long it took.
	Step func(what string, took time.Duration)
}

// ErrRunning is returned by Up when all of the cluster runs already and nothing was done, but for the caller's kubeconfig if it had
// no way to the cluster.
var ErrRunning = errors.New("the cluster is already running")

// Up makes the cluster, or resumes it: what runs is left alone, what is missing is started. It returns when the API answers,
// all nodes are Ready and cluster DNS resolves. If ctx ends before, or a process dies, what was started is left for `down`.
func Up(ctx context.Context, options UpOptions) (*Cluster, error) {
	step := func(what string, from time.Time) { options.Step(what, time.Since(from)) }
	started := time.Now()
	if err := CheckRequirements(); err != nil {
		return nil, err
	}
	if err := options.Config.Validate(); err != nil {
		return nil, err
	}
	if err := options.Config.checkKernel(); err != nil {
		return nil, err
	}
	unlock, err := lock(options.Config.Network.Cluster)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := settle(options)
	if err != nil {
		return nil, err
	}
	if err := c.endStranded(); err != nil {
		return nil, err
	}
	if err := c.endOutdated(); err != nil {
		return nil, err
	}
	if c.running() {
		if err := c.addContext(missing); err != nil {
			return nil, err
		}
		return c, ErrRunning
	}
	step("checked this machine", started)
	if options.Asked("ipvs-scheduler") && c.ProxyMode != proxy.IPVS {
		options.Step(fmt.Sprintf("kept --ipvs-scheduler %s for mode ipvs: the mode is %s", c.IPVSScheduler, c.ProxyMode), 0)
	}

	var atHand imagesAtHand
	group := new(errgroup.Group)
	group.Go(func() (err error) {
		from := time.Now()
		if atHand, err = c.prepareImages(ctx, options.Bundle); err != nil {
			return err
		}
		step(counted(atHand.count, "image")+" at hand", from)
		return nil
	})
	group.Go(func() error {
		from := time.Now()
		if err := c.buildLab(options.Step); err != nil {
			return err
		}
		step("built the lab network: switch, laptop, "+counted(c.Network.Nodes, "node"), from)
		return nil
	})
	group.Go(func() error { return c.writeCredentials() })
	if err := group.Wait(); err != nil {
		if atHand.release != nil {
			atHand.release()
		}
		return nil, err
	}
	failure := c.start(ctx, atHand.executable, step)
	if err := errors.Join(failure, atHand.done()); err != nil {
		return nil, err
	}
	return c, c.addContext(always)
}

// settle decides on the cluster's settings: those it has, or for a new one those asked for. A cluster whose server never ran is
// a new one still. What may change is changed: how Services are served, and the API server's port while the server does not run.
func settle(options UpOptions) (*Cluster, error) {
	wanted := options.Config
	have, err := Load(wanted.Network.Cluster)
	if errors.Is(err, ErrNotFound) {
		return create(wanted)
	}
	if err != nil {
		return nil, err
	}
	if options.Asked("api-port") && have.APIPort != wanted.APIPort && have.process("server").pid() == 0 {
		have.APIPort = wanted.APIPort
		if have, err = create(have.Config); err != nil {
			return nil, err
		}
	}
	if refusal := have.refuseChanges(wanted, options.Asked); refusal != nil {
		if _, err := os.Stat(have.Dir("server", "kubelite.db")); !errors.Is(err, os.ErrNotExist) {
			return nil, refusal
		}
		if err := down(have.Name()); err != nil {
			return nil, err
		}
		return create(wanted)
	}
	changed, err := have.change(wanted, options.Asked)
	if err != nil {
		return nil, err
	}
	if changed {
		if err := have.save(); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// checkKernel returns an error if this kernel cannot do what the proxy mode needs.
func (c Config) checkKernel() error {
	if c.ProxyMode != proxy.IPVS {
		return nil
	}
	if err := ipvs.Check(c.IPVSScheduler); err != nil {
		return fmt.Errorf("--proxy-mode %s --ipvs-scheduler %s: %w", c.ProxyMode, c.IPVSScheduler, err)
	}
	return nil
}

// create saves a cluster's settings, with a port for its API server if none was asked for. Clusters that are created at the same
// time wait for one another, so that each finds another port.
func create(config Config) (*Cluster, error) {
	unlock, err := lockDirectory(StateRoot)
	if err != nil {
		return nil, fmt.Errorf("create cluster %q: %w", config.Network.Cluster, err)
	}
	defer unlock()
	c := &Cluster{config}
	if c.APIPort == 0 {
		taken, err := portsOfOthers(c.Name())
		if err != nil {
			return nil, fmt.Errorf("create cluster %q: %w", c.Name(), err)
		}
		c.APIPort = freePort(serverPort, taken)
	}
	return c, c.save()
}

// portsOfOthers are the API servers' ports of this machine's other clusters, also of those that do not run now.
func portsOfOthers(name string) (map[int]bool, error) {
	names, err := Names()
	if err != nil {
		return nil, err
	}
	ports := map[int]bool{}
	for _, other := range names {
		if c, err := Load(other); err == nil && other != name { // a damaged one is its own `up`'s affair
			ports[c.APIPort] = true
		}
	}
	return ports, nil
}

// change takes over the settings that an existing cluster may change, of those asked for. An error if it cannot run with what it has then.
func (c *Cluster) change(wanted Config, asked func(string) bool) (changed bool, err error) {
	before := c.Config
	if asked("proxy-mode") {
		c.ProxyMode = wanted.ProxyMode
	}
	if asked("ipvs-scheduler") {
		c.IPVSScheduler = wanted.IPVSScheduler
	}
	if asked("load-balancer") {
		c.LoadBalancer = wanted.LoadBalancer
	}
	if err := c.Validate(); err != nil {
		return false, err
	}
	return c.Config != before, c.checkKernel()
}

// endOutdated ends the processes that were started with other arguments than the cluster's settings ask for now. Pods and rules
// outlive them.
func (c *Cluster) endOutdated() error {
	var outdated []int
	for _, p := range c.processes() {
		if pid := p.pid(); pid != 0 && !runsWith(pid, c.arguments(p.name)) {
			outdated = append(outdated, pid)
		}
	}
	if err := kill(outdated, endTimeout); err != nil {
		return fmt.Errorf("end processes whose settings changed: %w", err)
	}
	return nil
}

// refuseChanges returns an error if a setting was asked for that the existing cluster does not have.
func (c *Cluster) refuseChanges(wanted Config, asked func(string) bool) error {
	var failures []error
	for _, setting := range []struct {
		flag         string
		have, wanted any
	}{
		{"nodes", c.Network.Nodes, wanted.Network.Nodes},
		{"underlay", c.Network.Underlay, wanted.Network.Underlay},
		{"server-address", c.Network.Server, wanted.Network.Server},
		{"laptop-address", c.Network.Laptop, wanted.Network.Laptop},
		{"load-balancers", c.Network.LoadBalancers, wanted.Network.LoadBalancers},
		{"pod-cidr", c.Network.PodCIDR, wanted.Network.PodCIDR},
		{"node-mask", c.Network.NodeMask, wanted.Network.NodeMask},
		{"service-cidr", c.Network.ServiceCIDR, wanted.Network.ServiceCIDR},
		{"dual-stack", c.Network.DualStack, wanted.Network.DualStack},
		{"node-ports", c.Network.NodePorts, wanted.Network.NodePorts},
		{"uplink", c.Uplink, wanted.Uplink},
		{"api-port", c.APIPort, wanted.APIPort},
		{"cluster-domain", c.ClusterDomain, wanted.ClusterDomain},
		{"dns-upstream", c.DNSUpstream, wanted.DNSUpstream},
		{"seed", c.Seed, wanted.Seed},
	} {
		if asked(setting.flag) && setting.have != setting.wanted {
			failures = append(failures, fmt.Errorf("--%s %v: cluster %q exists with %q", setting.flag, setting.wanted, c.Name(), fmt.Sprint(setting.have)))
		}
	}
	if failures == nil {
		return nil
	}
	return errors.Join(append(failures, fmt.Errorf("leave these flags out, make the cluster anew after `kubelite down --purge --name %s`, or use another --name", c.Name()))...)
}

// endStranded takes the cluster down if processes of it run while a namespace of the lab is gone: they live on in one that has no
// name any more, where nobody reaches them.
func (c *Cluster) endStranded() error {
	if c.Network.NamespacesExist() {
		return nil
	}
	for _, p := range c.processes() {
		if p.pid() != 0 {
			return down(c.Name())
		}
	}
	return nil
}

// running says whether everything is there: all processes and the lab.
func (c *Cluster) running() bool {
	for _, p := range c.processes() {
		if p.pid() == 0 {
			return false
		}
	}
	return c.Network.Built()
}

func (c *Cluster) buildLab(step func(string, time.Duration)) error {
	if err := os.MkdirAll(c.RunDir(), 0o755); err != nil {
		return err
	}
	if err := c.Network.Build(); err != nil {
		return err
	}
	if c.Uplink == "off" {
		return nil
	}
	conflict, err := c.Network.UplinkConflict()
	if err != nil {
		return err
	}
	if conflict != "" {
		step(fmt.Sprintf("left the uplink off: the machine's route %s overlaps the underlay %s (choose another with --underlay)", conflict, c.Network.Underlay), 0)
		return nil
	}
	return c.Network.ConnectUplink()
}

// freePort is the wanted TCP port of 127.0.0.1, or the next one that is free and not among the taken.
func freePort(wanted int, taken map[int]bool) int {
	for port := wanted; port < 65536; port++ {
		if taken[port] {
			continue
		}
		listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			listener.Close()
			return port
		}
	}
	return wanted
}

// counted is "1 node", "2 nodes".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
