package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kubelite/kubelite/internal/netns"
)

// The benchmark's networks exist in its own network namespaces only.
const (
	podNetwork     = "10.64.0.0/10"  // --cluster-cidr
	endpoints      = "10.80.0.0/12"  // the part of it that the namespace of endpoints answers for
	serviceNetwork = "10.160.0.0/12" // --service-cidr
	serverAddress  = "192.168.1.1"
	servingPods    = "192.168.1.20"
	endpointPort   = 8080
)

// lab is where the benchmark happens: a network namespace with the API server and a bridge, and one that answers at every
// endpoint's address. Nodes are added for each measurement.
//
//	server 192.168.1.1 ──┬── 192.168.1.20 endpoints 10.80.0.0/12
//	                     ├── 192.168.1.2 node-1 ── 10.64.1.2 client of node-1
//	                     └── 192.168.1.3 node-2 ── 10.64.2.2 client of node-2
type lab struct {
	server, pods string // paths of network namespaces
}

// node is a namespace for a proxy, and one for a client whose packets go through it, as a Pod's do.
type node struct {
	name, address string
	path, client  string // of the namespaces
}

func namespace(name string) string { return fmt.Sprintf("kubelite-bench-%d-%s", os.Getpid(), name) }

func newLab() (l *lab, err error) {
	l = &lab{}
	if l.server, err = netns.New(namespace("server")); err != nil {
		return nil, err
	}
	if l.pods, err = netns.New(namespace("endpoints")); err != nil {
		return nil, errors.Join(err, l.close())
	}
	err = setUp("server", "link set lo up", "link add br0 type bridge", "address add 192.168.1.1/24 dev br0", "link set br0 up",
		"link add endpoints type veth peer name eth0 netns "+namespace("endpoints"), "link set endpoints master br0 up",
		// What no rule of a node has led elsewhere is refused here at once, so that a probe does not wait.
		"route add local "+serviceNetwork+" dev lo", "route add 10.64.1.0/24 via 192.168.1.2", "route add 10.64.2.0/24 via 192.168.1.3")
	if err == nil {
		err = setUp("endpoints", "link set lo up", "address add "+servingPods+"/24 dev eth0", "link set eth0 up",
			"route add local "+endpoints+" dev lo", "route add 10.64.1.0/24 via 192.168.1.2", "route add 10.64.2.0/24 via 192.168.1.3")
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) close() error {
	return errors.Join(netns.Delete(namespace("server")), netns.Delete(namespace("endpoints")))
}

// nodeAddress is the address of node number 1 or 2.
func nodeAddress(number int) string { return fmt.Sprintf("192.168.1.%d", 1+number) }

// addNode adds node number 1 or 2.
func (l *lab) addNode(number int) (n *node, err error) {
	name := fmt.Sprintf("node-%d", number)
	n = &node{name: name, address: nodeAddress(number)}
	if n.path, err = netns.New(namespace(name)); err != nil {
		return nil, err
	}
	if n.client, err = netns.New(namespace(name + "-client")); err != nil {
		return nil, errors.Join(err, n.close())
	}
	err = setUp("server", "link add "+name+" type veth peer name eth0 netns "+namespace(name), "link set "+name+" master br0 up")
	if err == nil {
		err = setUp(name, "link set lo up", "address add "+n.address+"/24 dev eth0", "link set eth0 up",
			"link add client type veth peer name eth0 netns "+namespace(name+"-client"),
			fmt.Sprintf("address add 10.64.%d.1/24 dev client", number), "link set client up",
			"route add "+endpoints+" via "+servingPods,
			"route add default via "+serverAddress)
	}
	if err == nil {
		err = setUp(name+"-client", "link set lo up", fmt.Sprintf("address add 10.64.%d.2/24 dev eth0", number), "link set eth0 up",
			fmt.Sprintf("route add default via 10.64.%d.1", number))
	}
	if err == nil {
		err = netns.Do(n.path, allowProbes)
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// close removes the node. Its link is deleted by name: the kernel takes its time with namespaces, and the next node has the same.
func (n *node) close() error {
	return errors.Join(setUp("server", "link delete "+n.name), netns.Delete(namespace(n.name+"-client")), netns.Delete(namespace(n.name)))
}

// allowProbes lets the calling thread's namespace forward, and refuse as often as a prober asks.
func allowProbes() error {
	for sysctl, value := range map[string]string{"ip_forward": "1", "icmp_ratelimit": "0", "icmp_msgs_per_sec": "1000000", "icmp_msgs_burst": "10000"} {
		err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4", sysctl), []byte(value), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // older kernels have the last two for the whole machine only
			return fmt.Errorf("set sysctl %s: %w", sysctl, err)
		}
	}
	return nil
}

// setUp runs commands of ip in the namespace.
func setUp(name string, commands ...string) error {
	cmd := exec.Command("ip", "-n", namespace(name), "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set up namespace %s: %w: %s", name, err, output)
	}
	return nil
}

// endpointAddress is the address of a Service's endpoint; each version of a replaced one has another.
func endpointAddress(service, index int) netip.Addr {
	const first = 10<<24 | 80<<16
	n := uint32(first + 1 + service*8 + index)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
