package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// built is a lab of its own with two nodes, which is removed when the test ends. It has no uplink.
func built(t *testing.T) Network {
	t.Helper()
	return build(t, DefaultNetwork(fmt.Sprintf("test-lab-%d", os.Getpid()), 2))
}

func build(t *testing.T, n Network) Network {
	t.Helper()
	netnstest.RequireRoot(t)
	t.Cleanup(func() {
		if err := n.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := n.Build(); err != nil {
		t.Fatal(err)
	}
	return n
}

// refused is how the namespace at path hears of a connection to an address that nobody answers at.
func refused(path string, address netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), 800*time.Millisecond) // before the first SYN is repeated
	defer cancel()
	conn, err := netns.Dialer(path)(ctx, "tcp", address.String())
	if err == nil {
		conn.Close()
	}
	return err
}

// connected checks that every host of the lab reaches every other one: where there is no listener, the host itself says so.
func connected(t *testing.T, n Network) {
	t.Helper()
	for _, from := range n.places() {
		for _, to := range append(n.places(), place{"switch", n.Server}) {
			for _, address := range n.hostAddresses(to.address) {
				err := refused(netns.Path(n.namespace(from.name)), netip.AddrPortFrom(address.Addr(), 9))
				if !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("from %s to %s at %s: got %v, want %v", from.name, to.name, address.Addr(), err, unix.ECONNREFUSED)
				}
			}
		}
	}
}

func ip(t *testing.T, namespace string, arguments ...string) string {
	t.Helper()
	output, err := exec.Command("ip", append([]string{"-n", namespace}, arguments...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip -n %s %s: %v: %s", namespace, strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func TestNetnsBuildMakesWhatIsMissing(t *testing.T) {
	n := built(t)
	connected(t, n)
	cases := []struct {
		name   string
		damage func(t *testing.T)
		kept   []string // namespaces that are left as they are
	}{
		{"nothing", func(*testing.T) {}, []string{"switch", "laptop", "node-1", "node-2"}},
		{"the laptop", func(t *testing.T) { deleteNamespace(t, n, "laptop") }, []string{"switch", "node-1", "node-2"}},
		{"a node", func(t *testing.T) { deleteNamespace(t, n, "node-2") }, []string{"switch", "laptop", "node-1"}},
		{"the switch", func(t *testing.T) { deleteNamespace(t, n, "switch") }, nil},
		{"the bridge", func(t *testing.T) { ip(t, n.namespace("switch"), "link", "delete", bridgeName) }, []string{"switch", "laptop", "node-1", "node-2"}},
		{"a port", func(t *testing.T) { ip(t, n.namespace("switch"), "link", "delete", "node-1") }, []string{"switch", "laptop", "node-2"}},
		{"a port that was pulled out", func(t *testing.T) { ip(t, n.namespace("switch"), "link", "set", "node-1", "nomaster") }, []string{"switch", "laptop", "node-1", "node-2"}},
		{"a port that is down", func(t *testing.T) { ip(t, n.namespace("switch"), "link", "set", "node-1", "down") }, []string{"switch", "laptop", "node-1", "node-2"}},
		{"an address and the default route", func(t *testing.T) { ip(t, n.namespace("node-1"), "address", "flush", "dev", "eth0") }, []string{"switch", "laptop", "node-1", "node-2"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := inodes(t, n)
			c.damage(t)
			if err := n.Build(); err != nil {
				t.Fatal(err)
			}
			connected(t, n)
			after := inodes(t, n)
			for _, name := range c.kept {
				if before[name] != after[name] {
					t.Errorf("%s was made anew", name)
				}
			}
		})
	}
}

func deleteNamespace(t *testing.T, n Network, place string) {
	t.Helper()
	if err := netns.Delete(n.namespace(place)); err != nil {
		t.Fatal(err)
	}
}

func inodes(t *testing.T, n Network) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	for _, place := range append(n.places(), place{name: "switch"}) {
		var stat unix.Stat_t
		if err := unix.Stat(netns.Path(n.namespace(place.name)), &stat); err != nil {
			t.Fatal(err)
		}
		found[place.name] = stat.Ino
	}
	return found
}

// A node that refuses a load balancer's address also tells the laptop of a shorter way to it, which must not cost the refusal.
func TestNetnsRefusalsAreHeard(t *testing.T) {
	n := built(t)
	node, laptop := n.NodeList()[0], n.namespace("laptop")
	balancer := n.LoadBalancers.First
	err := netns.Do(node.NetNS, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
			return err
		}
		rule := "-A FORWARD -d " + balancer.String() + "/32 -p tcp -j REJECT"
		return exec.Command("iptables", strings.Fields(rule)...).Run()
	})
	if err != nil {
		t.Fatal(err)
	}
	var hardware string
	if err := netns.Do(node.NetNS, func() error {
		link, err := netlink.LinkByName("eth0")
		if err == nil {
			hardware = link.Attrs().HardwareAddr.String()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ip(t, laptop, "neighbour", "replace", balancer.String(), "lladdr", hardware, "dev", "eth0")
	for i := range 20 {
		if err := refused(n.LaptopNetNS(), netip.AddrPortFrom(balancer, 80)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("connection %d: got %v, want %v", i, err, unix.ECONNREFUSED)
		}
	}
	if err := refused(n.LaptopNetNS(), netip.MustParseAddrPort("10.244.0.2:80")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("a Pod's address from the laptop: got %v, want %v", err, unix.ENETUNREACH)
	}
}

func TestNetnsRemoveLeavesNothing(t *testing.T) {
	n := built(t)
	neighbour := DefaultNetwork(n.Cluster+"-b", 1) // a cluster whose name begins with the other's
	t.Cleanup(func() {
		if err := neighbour.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := neighbour.Build(); err != nil {
		t.Fatal(err)
	}
	if pids, err := Inhabitants(n.Cluster); err != nil || len(pids) != 0 {
		t.Errorf("got %v, %v, want nobody in the namespaces", pids, err)
	}
	for range 2 { // missing is no error
		if err := n.Remove(); err != nil {
			t.Fatal(err)
		}
		names, err := Namespaces(n.Cluster)
		if err != nil || len(names) != 0 {
			t.Errorf("got %v, %v, want no namespaces", names, err)
		}
	}
	if !neighbour.Built() {
		t.Error("the other cluster's lab was removed, too")
	}
}

// The machine is a namespace of its own here: it gets one link with one address and the route to it, and nothing else.
func TestNetnsUplink(t *testing.T) {
	n := built(t)
	machine := netnstest.New(t)
	name := machine[strings.LastIndex(machine, "/")+1:]
	ip(t, name, "link", "set", "lo", "up")
	before := machineState(t, name)
	onMachine := func(f func() error) {
		t.Helper()
		if err := netns.Do(machine, f); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := netns.Listen(n.NodeList()[1].NetNS, "tcp4", ":30080")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for range 2 { // idempotent
		onMachine(n.ConnectUplink)
	}
	if err := refused(machine, netip.AddrPortFrom(n.NodeList()[1].Address, 30080)); err != nil {
		t.Errorf("the machine does not reach a node port: %v", err)
	}
	if got, want := ip(t, name, "-4", "-brief", "address", "show", "dev", n.uplinkName()), n.Uplink().String()+"/24"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := strings.Fields(ip(t, name, "route")); !slices.Equal(got[:3], []string{n.Underlay.String(), "dev", n.uplinkName()}) || slices.Contains(got, "via") {
		t.Errorf("got routes %v, want the one of the uplink's own network", got)
	}
	onMachine(func() error {
		conflict, err := n.UplinkConflict()
		if conflict != "" {
			t.Errorf("got a conflict with %s, want none with the uplink itself", conflict)
		}
		return err
	})
	// The switch goes, and the uplink's other end with it.
	deleteNamespace(t, n, "switch")
	if err := n.Build(); err != nil {
		t.Fatal(err)
	}
	onMachine(n.ConnectUplink)
	if err := refused(machine, netip.AddrPortFrom(n.NodeList()[1].Address, 30080)); err != nil {
		t.Errorf("the machine does not reach a node port after the switch was made anew: %v", err)
	}
	for range 2 { // missing is no error
		onMachine(n.DisconnectUplink)
	}
	if after := machineState(t, name); after != before {
		t.Errorf("the machine was left changed:\n%s\nbefore:\n%s", after, before)
	}

	ip(t, name, "link", "add", "lan0", "type", "bridge")
	ip(t, name, "address", "add", "192.168.1.77/25", "dev", "lan0")
	ip(t, name, "link", "set", "lan0", "up")
	onMachine(func() error {
		conflict, err := n.UplinkConflict()
		if conflict != "192.168.1.0/25 dev lan0" {
			t.Errorf("got conflict %q, want the route of lan0", conflict)
		}
		return err
	})
}

// machineState is what a cluster may change of a machine: links, addresses, routes, rules, and the sysctls of IPv4.
func machineState(t *testing.T, name string) string {
	t.Helper()
	state := ip(t, name, "-brief", "link") + ip(t, name, "-brief", "address") + ip(t, name, "route", "show", "table", "all")
	for _, command := range []string{"iptables-save", "sysctl -a --pattern ^net.ipv4"} {
		output, err := exec.Command("ip", append([]string{"netns", "exec", name}, strings.Fields(command)...)...).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		for line := range strings.Lines(string(output)) {
			if !strings.HasPrefix(line, "#") {
				state += line
			}
		}
	}
	return state
}
