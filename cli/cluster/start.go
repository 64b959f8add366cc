package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/internal/netns"
)

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
	client, err := c.Client()
	if err != nil {
		return err
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
		fresh[node.Name] = ended != nil // one that an earlier `up` started may have said already that it is Ready
		watch(agent, ended, logFrom)
		if c.Seed != 0 { // the order in which nodes become Ready decides where the first Pods go
			if err := waitForNodes(ctx, client, []lab.Node{node}, fresh, startedAt); err != nil {
				return fmt.Errorf("wait until %s is Ready: %w", node.Name, cmp.Or(context.Cause(ctx), err))
			}
		}
	}
	for _, wait := range []struct {
		what string
		wait func(context.Context) error
	}{
		{"API server answers at " + c.serverURL(), func(ctx context.Context) error { return waitForServer(ctx, client) }},
		{"all nodes are Ready", func(ctx context.Context) error {
			return waitForNodes(ctx, client, c.Network.NodeList(), fresh, startedAt)
		}},
		{"Services are programmed in mode " + string(c.ProxyMode), c.waitForProxies},
		{"cluster DNS resolves", func(ctx context.Context) error { return c.waitForDNS(ctx, client) }},
	} {
		if err := wait.wait(ctx); err != nil {
			return fmt.Errorf("wait until %s: %w", wait.what, cmp.Or(context.Cause(ctx), err))
		}
		step(wait.what, from)
		from = time.Now()
	}
	return nil
}

// startServer opens the server's two sockets, in this namespace and on the switch, and starts it with them.
func (c *Cluster) startServer(p process, executable string) (<-chan error, error) {
	arguments := c.arguments(p.name)
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

// arguments are what the process of the name is started with.
func (c *Cluster) arguments(process string) []string {
	for _, node := range c.Network.NodeList() {
		if node.Name == process {
			return c.agentArguments(node)
		}
	}
	return c.serverArguments()
}

// serverArguments begins with those that tell this cluster's server from all others.
func (c *Cluster) serverArguments() []string {
	arguments := []string{"server",
		"--data-dir", c.Dir("server"),
		"--listen-fds", "2",
		"--advertise-address", net.JoinHostPort(c.Network.Server.String(), strconv.Itoa(serverPort)),
		"--agents-netns", c.Network.SwitchNetNS(),
		"--service-cidr", commaSeparated(c.Network.ServiceCIDRs()),
		"--node-ports", c.Network.NodePorts.String(),
		"--pod-cidr", commaSeparated(c.Network.PodCIDRs()),
		"--node-mask", strconv.Itoa(c.Network.NodeMask),
		"--load-balancer", c.LoadBalancer,
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

// agentArguments begins with those that tell this node's agent from all others.
func (c *Cluster) agentArguments(node lab.Node) []string {
	credentials := c.nodeCredentials(node.Name)
	return []string{"agent",
		"--kubeconfig", credentials.kubeconfig,
		"--node-name", node.Name,
		"--node-ip", commaSeparated(addressesOf(node)),
		"--tls-cert-file", credentials.certificate,
		"--tls-private-key-file", credentials.key,
		"--client-ca-file", credentials.authority,
		"--root-dir", c.Dir("nodes", node.Name),
		"--run-dir", c.RunDir(node.Name),
		"--images-dir", ImagesDir(),
		"--netns-prefix", c.Network.PodNetNSPrefix(),
		"--cgroup-parent", filepath.Join(c.CgroupParent(), node.Name),
		"--pull-netns", "/proc/self/fd/3",
		"--pod-cidr", commaSeparated(c.Network.PodCIDRs()),
		"--cluster-domain", c.ClusterDomain,
		"--cluster-dns", c.Network.ServiceAddress(10).String(),
		"--proxy-mode", string(c.ProxyMode),
		"--ipvs-scheduler", c.IPVSScheduler,
	}
}

func addressesOf(node lab.Node) []netip.Addr {
	if node.IPv6.IsValid() {
		return []netip.Addr{node.Address, node.IPv6}
	}
	return []netip.Addr{node.Address}
}

// commaSeparated writes addresses or networks as flags take them.
func commaSeparated[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, element := range list {
		texts[i] = element.String()
	}
	return strings.Join(texts, ",")
}

// startAgent starts a node's agent in the node's namespace. This process's own namespace is inherited as descriptor 3: image
// pulls go through it, since a node has no way out.
func (c *Cluster) startAgent(p process, node lab.Node, executable string) (<-chan error, error) {
	arguments := c.arguments(p.name)
	if adopted, err := p.adopt(arguments[:3]); adopted || err != nil {
		return nil, err
	}
	own, err := os.Open("/proc/thread-self/ns/net") // not of the first thread, which may be elsewhere at work
	if err != nil {
		return nil, err
	}
	defer own.Close()
	return p.start(node.NetNS, executable, arguments, own)
}
