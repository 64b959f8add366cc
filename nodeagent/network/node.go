package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoPodCIDR is returned when a Pod is to be attached before Setup has told the node's range.
var ErrNoPodCIDR = errors.New("the node has no Pod CIDR yet")

// routeProtocol marks the routes of this package (`proto 75` in `ip route`), so that none of others is ever removed.
const routeProtocol = 75

// Config says where a node keeps its addresses and what is inside the cluster.
type Config struct {
	StateDir     string         // folder of the address files; must outlive a reboot
	ClusterCIDRs []netip.Prefix // of all Pods, one a family: traffic to them keeps the Pod's address; none: nothing is masqueraded
	Underlay     string         // interface to the other nodes, "eth0"; empty: masquerade on every way out but the veths
}

// Node is the Pod network of one node. Its methods may be called concurrently.
type Node struct {
	config Config

	mutex     sync.Mutex // of what follows
	allocator *allocator // nil before Setup
	podCIDR   netip.Prefix
	podCIDR6  netip.Prefix                  // invalid without IPv6
	rules     map[iptables.Protocol]ruleset // of this package, as it left them
	routes    []NodeRoute                   // as SetRoutes was told last
}

// New returns a Node that does nothing before Setup.
func New(config Config) *Node {
	return &Node{config: config, rules: map[iptables.Protocol]ruleset{}}
}

// Setup makes the network namespace that the process is in a node's, with these ranges: one of IPv4 and, in a dual-stack
// cluster, one of IPv6. It may be called again; the ranges of a node with Pods must not change.
func (n *Node) Setup(podCIDRs ...netip.Prefix) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if err := checkRanges(podCIDRs); err != nil {
		return fmt.Errorf("set up Pod network: %w", err)
	}
	podCIDR, podCIDR6 := podCIDRs[0].Masked(), netip.Prefix{}
	sysctls := map[string]string{
		"net/ipv4/ip_forward": "1",
		// Pods' packets come in by one interface for each address; what replies by another is the Services' return way
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/default/rp_filter": "0",
	}
	if len(podCIDRs) == 2 {
		podCIDR6 = podCIDRs[1].Masked()
		sysctls["net/ipv6/conf/all/forwarding"] = "1"
	}
	if n.podCIDR == podCIDR && n.podCIDR6 == podCIDR6 {
		return nil
	}
	for path, value := range sysctls {
		if err := writeSysctl(path, value); err != nil {
			return fmt.Errorf("set up Pod network: %w", err)
		}
	}
	allocator, err := openAllocator(filepath.Join(n.config.StateDir, strings.ReplaceAll(podCIDR.String(), "/", "-")), podCIDR)
	if err != nil {
		return fmt.Errorf("set up Pod network: %w", err)
	}
	for _, prefix := range podCIDRs {
		own := &netlink.Route{Dst: ipNet(prefix.Masked()), Type: unix.RTN_UNREACHABLE, Protocol: routeProtocol}
		if err := netlink.RouteReplace(own); err != nil {
			return fmt.Errorf("set up Pod network: route %s: %w", prefix, err)
		}
		for _, cluster := range n.config.ClusterCIDRs {
			if cluster.Addr().Is4() != prefix.Addr().Is4() {
				continue
			}
			if err := masquerade(prefix.Masked(), cluster, n.config.Underlay); err != nil {
				return fmt.Errorf("set up Pod network: %w", err)
			}
		}
		if err := n.remember(familyOf(prefix)); err != nil {
			return fmt.Errorf("set up Pod network: %w", err)
		}
	}
	n.podCIDR, n.podCIDR6, n.allocator = podCIDR, podCIDR6, allocator
	return nil
}

// Gateway is the node's own address in its range, the Pods' default route: 10.244.0.1 of 10.244.0.0/24. Invalid before Setup.
func (n *Node) Gateway() netip.Addr {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.allocator == nil {
		return netip.Addr{}
	}
	return n.allocator.gateway
}

// Reclaim frees the addresses and host ports of Pods that are not among podUIDs: what a crash between two steps has left.
func (n *Node) Reclaim(podUIDs []string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.allocator == nil {
		return ErrNoPodCIDR
	}
	keep := map[string]bool{}
	for _, uid := range podUIDs {
		keep[uid] = true
	}
	return errors.Join(n.allocator.reclaim(keep), reclaimHostPorts(keep), n.remember(iptables.ProtocolIPv4))
}

// writeSysctl sets a sysctl of the calling thread's namespaces, by its path below /proc/sys.
func writeSysctl(path, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl %s to %q: %w", strings.ReplaceAll(path, "/", "."), value, err)
	}
	return nil
}
