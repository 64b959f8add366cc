package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/internal/netns"
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
	unlock, err := lock(options.Config.Network.Cluster)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := settle(options)
	if err != nil {
		return nil, err
	}
	if c.running() {
		if err := c.addContext(missing); err != nil {
			return nil, err
		}
		return c, ErrRunning
	}
	step("checked this machine", started)

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
// a new one still, and the API server's port may change while the server does not run.
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
	refusal := have.refuseChanges(wanted, options.Asked)
	if _, err := os.Stat(have.Dir("server", "kubelite.db")); refusal != nil && errors.Is(err, os.ErrNotExist) {
		if err := down(have.Name()); err != nil {
			return nil, err
		}
		return create(wanted)
	}
	return have, refusal
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

// start starts what does not run of the server and the agents, all at once: the server's sockets are opened here, so that the
// agents' first connections wait in their queue instead of being refused.
func (c *Cluster) start(ctx context.Context, executable string, step func(string, time.Time)) error {
	from := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := func(p process, ended <-chan error, logFrom int64) {
		go func() { // ends with the process, or with ctx
			select {
			case err := <-ended:
				cancel(fmt.Errorf("%s ended (%v); the end of its log %s:\n%s", p.name, err, p.logFile, p.lastLines(15, logFrom)))
			case <-ctx.Done():
			}
		}()
	}
	if server := c.process("server"); server.pid() == 0 {
		logFrom := server.logSize()
		ended, err := c.startServer(server, executable)
		if err != nil {
			return err
		}
		watch(server, ended, logFrom)
	}
	startedAt := time.Now()
	fresh := map[string]bool{} // nodes whose agent has just been started
	for _, node := range c.Network.NodeList() {
		agent := c.process(node.Name)
		if agent.pid() != 0 {
			continue
		}
		logFrom := agent.logSize()
		ended, err := c.startAgent(agent, node, executable)
		if err != nil {
			return err
		}
		fresh[node.Name] = true
		watch(agent, ended, logFrom)
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	for _, wait := range []struct {
		what string
		wait func(context.Context) error
	}{
		{"API server answers at " + c.serverURL(), func(ctx context.Context) error { return waitForServer(ctx, client) }},
		{"all nodes are Ready", func(ctx context.Context) error {
			return waitForNodes(ctx, client, c.Network.NodeList(), fresh, startedAt)
		}},
		{"cluster DNS resolves", func(ctx context.Context) error { return c.waitForDNS(ctx, client) }},
	} {
		if err := wait.wait(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("wait until %s: %w", wait.what, err)
		}
		step(wait.what, from)
		from = time.Now()
	}
	return nil
}

// startServer opens the server's two sockets, in this namespace and on the switch, and starts it with them.
func (c *Cluster) startServer(p process, executable string) (<-chan error, error) {
	arguments := c.serverArguments()
	if adopted, err := p.adopt(arguments[:4]); adopted || err != nil {
		return nil, err
	}
	local := net.JoinHostPort("127.0.0.1", strconv.Itoa(c.APIPort))
	var files []*os.File
	for _, place := range []struct{ path, address string }{
		{"", local},
		{c.Network.SwitchNetNS(), net.JoinHostPort(c.Network.Server.String(), strconv.Itoa(serverPort))},
	} {
		listener, err := netns.Listen(place.path, "tcp4", place.address)
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("the API server's address %s is taken by another program: end it (`ss -ltnp` names it), or choose another port with `kubelite up --api-port PORT --name %s`: %w", place.address, c.Name(), err)
		}
		if err != nil {
			return nil, fmt.Errorf("open the API server's socket: %w", err)
		}
		file, err := listener.(*net.TCPListener).File()
		listener.Close()
		if err != nil {
			return nil, fmt.Errorf("open the API server's socket: %w", err)
		}
		defer file.Close()
		files = append(files, file)
	}
	return p.start("", executable, arguments, files...)
}

// serverArguments begins with those that tell this cluster's server from all others.
func (c *Cluster) serverArguments() []string {
	arguments := []string{"server",
		"--data-dir", c.Dir("server"),
		"--listen-fds", "2",
		"--advertise-address", net.JoinHostPort(c.Network.Server.String(), strconv.Itoa(serverPort)),
		"--agents-netns", c.Network.SwitchNetNS(),
		"--service-cidr", c.Network.ServiceCIDR.String(),
		"--node-ports", c.Network.NodePorts.String(),
		"--pod-cidr", c.Network.PodCIDR.String(),
		"--node-mask", strconv.Itoa(c.Network.NodeMask),
		"--load-balancers", c.Network.LoadBalancers.String(),
		"--cluster-domain", c.ClusterDomain,
		"--dns-address", c.Network.ServiceAddress(10).String(),
	}
	if c.DNSUpstream != "" {
		arguments = append(arguments, "--dns-upstream", c.DNSUpstream)
	}
	if c.Seed != 0 {
		arguments = append(arguments, "--seed", strconv.FormatUint(c.Seed, 10))
	}
	return arguments
}

// startAgent starts a node's agent in the node's namespace. This process's own namespace is inherited as descriptor 3: image
// pulls go through it, since a node has no way out.
func (c *Cluster) startAgent(p process, node lab.Node, executable string) (<-chan error, error) {
	credentials := c.nodeCredentials(node.Name)
	arguments := []string{"agent",
		"--kubeconfig", credentials.kubeconfig,
		"--node-name", node.Name,
		"--node-ip", node.Address.String(),
		"--tls-cert-file", credentials.certificate,
		"--tls-private-key-file", credentials.key,
		"--client-ca-file", credentials.authority,
		"--root-dir", c.Dir("nodes", node.Name),
		"--run-dir", c.RunDir(node.Name),
		"--images-dir", ImagesDir(),
		"--netns-prefix", c.Network.PodNetNSPrefix(),
		"--cgroup-parent", filepath.Join(c.CgroupParent(), node.Name),
		"--pull-netns", "/proc/self/fd/3",
		"--pod-cidr", c.Network.PodCIDR.String(),
		"--cluster-domain", c.ClusterDomain,
		"--cluster-dns", c.Network.ServiceAddress(10).String(),
	}
	if adopted, err := p.adopt(arguments[:3]); adopted || err != nil {
		return nil, err
	}
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	return p.start(node.NetNS, executable, arguments, own)
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
