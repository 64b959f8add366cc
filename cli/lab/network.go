package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kubelite/kubelite/internal/netns"
)

// Network is the addresses of one cluster's lab. The zero value is not useful; start from DefaultNetwork.
type Network struct {
	Cluster string `json:"cluster"`
	Nodes   int    `json:"nodes"`

	Underlay netip.Prefix `json:"underlay"` // nodes, laptop, API server, load balancers
	Server   netip.Addr   `json:"server"`   // the API server, on the switch
	Laptop   netip.Addr   `json:"laptop"`
	// LoadBalancers is the inclusive range that Services of type LoadBalancer get addresses from.
	LoadBalancers Range `json:"loadBalancers"`

	PodCIDR     netip.Prefix `json:"podCIDR"`
	NodeMask    int          `json:"nodeMask"` // prefix length of one node's share of PodCIDR
	ServiceCIDR netip.Prefix `json:"serviceCIDR"`
	NodePorts   PortRange    `json:"nodePorts"`
	// DualStack adds IPv6 networks beside the underlay, PodCIDR and ServiceCIDR.
	DualStack bool `json:"dualStack,omitempty"`
}

// DefaultNetwork is the network of the textbooks.
func DefaultNetwork(cluster string, nodes int) Network {
	return Network{
		Cluster:       cluster,
		Nodes:         nodes,
		Underlay:      netip.MustParsePrefix("192.168.1.0/24"),
		Server:        netip.MustParseAddr("192.168.1.1"),
		Laptop:        netip.MustParseAddr("192.168.1.10"),
		LoadBalancers: Range{netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("192.168.1.250")},
		PodCIDR:       netip.MustParsePrefix("10.244.0.0/16"),
		NodeMask:      24,
		ServiceCIDR:   netip.MustParsePrefix("10.96.0.0/12"),
		NodePorts:     PortRange{30000, 32767},
	}
}

// OnUnderlay is the network moved to another underlay: the server, the laptop and the load balancers keep their places in it.
func (n Network) OnUnderlay(underlay netip.Prefix) Network {
	if !underlay.Addr().Is4() {
		n.Underlay = underlay
		return n // Validate refuses it
	}
	first := number(n.Underlay.Addr())
	move := func(a netip.Addr) netip.Addr { return hostOf(underlay, number(a)-first) }
	n.Server, n.Laptop = move(n.Server), move(n.Laptop)
	n.LoadBalancers = Range{move(n.LoadBalancers.First), move(n.LoadBalancers.Last)}
	n.Underlay = underlay
	return n
}

// hostOf is the i-th address of an IPv4 network.
func hostOf(network netip.Prefix, i uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, number(network.Addr())+i)))
}

// number is an IPv4 address as a number.
func number(a netip.Addr) uint32 {
	bytes := a.As4()
	return binary.BigEndian.Uint32(bytes[:])
}

// Range is an inclusive range of addresses, written FIRST-LAST.
type Range struct{ First, Last netip.Addr }

// Contains says whether the address is in the range.
func (r Range) Contains(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// MarshalText writes FIRST-LAST.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads FIRST-LAST.
func (r *Range) UnmarshalText(text []byte) error { return r.Set(string(text)) }

// Set reads FIRST-LAST; with String and Type it makes a Range a command-line flag.
func (r *Range) Set(text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		return fmt.Errorf("%q is not a range of addresses: write FIRST-LAST, as in 192.168.1.200-192.168.1.250", text)
	}
	parsed := Range{}
	var err error
	if parsed.First, err = netip.ParseAddr(first); err != nil {
		return err
	}
	if parsed.Last, err = netip.ParseAddr(last); err != nil {
		return err
	}
	if parsed.Last.Less(parsed.First) {
		return fmt.Errorf("%q is not a range of addresses: the last comes before the first", text)
	}
	*r = parsed
	return nil
}

// Type is the flag's placeholder.
func (r *Range) Type() string { return "FIRST-LAST" }

// PortRange is an inclusive range of ports, written FIRST-LAST.
type PortRange struct{ First, Last int }

func (r PortRange) String() string { return strconv.Itoa(r.First) + "-" + strconv.Itoa(r.Last) }

// MarshalText writes FIRST-LAST.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads FIRST-LAST.
func (r *PortRange) UnmarshalText(text []byte) error { return r.Set(string(text)) }

// Set reads FIRST-LAST.
func (r *PortRange) Set(text string) error {
	first, last, _ := strings.Cut(text, "-")
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(last)
	if errA != nil || errB != nil || a < 1 || b > 65535 || b < a {
		return fmt.Errorf("%q is not a range of ports: write FIRST-LAST, as in 30000-32767", text)
	}
	*r = PortRange{a, b}
	return nil
}

// Type is the flag's placeholder.
func (r *PortRange) Type() string { return "FIRST-LAST" }

// MaxNameLength bounds a cluster's name, so that the paths of its Unix sockets fit the kernel's 107 bytes.
const MaxNameLength = 20

var clusterName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// reservedNames are what the folders of the clusters' state have beside the clusters.
var reservedNames = []string{"agent", "images"}

// CheckName returns what is wrong with a cluster's name.
func CheckName(name string) error {
	if slices.Contains(reservedNames, name) {
		return fmt.Errorf("%q cannot be a cluster's name: kubelite keeps its %[1]s under it; choose another with --name", name)
	}
	if len(name) > MaxNameLength || !clusterName.MatchString(name) {
		return fmt.Errorf("%q cannot be a cluster's name: use at most %d lower case letters, digits and '-', beginning with a letter and not ending with '-'", name, MaxNameLength)
	}
	return nil
}

// Validate returns everything that is wrong with the network, flag by flag.
func (n Network) Validate() error {
	var failures []error
	complain := func(format string, arguments ...any) { failures = append(failures, fmt.Errorf(format, arguments...)) }
	if err := CheckName(n.Cluster); err != nil {
		failures = append(failures, err)
	}
	for _, cidr := range []struct {
		flag   string
		prefix netip.Prefix
	}{{"--underlay", n.Underlay}, {"--pod-cidr", n.PodCIDR}, {"--service-cidr", n.ServiceCIDR}} {
		if !cidr.prefix.IsValid() || !cidr.prefix.Addr().Is4() || cidr.prefix.Masked() != cidr.prefix {
			complain("%s: %s is not an IPv4 network address: write it as in 10.244.0.0/16", cidr.flag, cidr.prefix)
		}
	}
	if failures != nil {
		return errors.Join(failures...)
	}
	for _, pair := range [][2]struct {
		flag   string
		prefix netip.Prefix
	}{
		{{"--underlay", n.Underlay}, {"--pod-cidr", n.PodCIDR}},
		{{"--underlay", n.Underlay}, {"--service-cidr", n.ServiceCIDR}},
		{{"--pod-cidr", n.PodCIDR}, {"--service-cidr", n.ServiceCIDR}},
	} {
		if pair[0].prefix.Overlaps(pair[1].prefix) {
			complain("%s %s and %s %s overlap: choose others", pair[0].flag, pair[0].prefix, pair[1].flag, pair[1].prefix)
		}
	}
	for _, address := range []struct {
		flag    string
		address netip.Addr
	}{{"--server-address", n.Server}, {"--laptop-address", n.Laptop}, {"--load-balancers", n.LoadBalancers.First}, {"--load-balancers", n.LoadBalancers.Last}} {
		if !n.usable(address.address) {
			complain("%s: %s is not a host address of the underlay %s", address.flag, address.address, n.Underlay)
		}
	}
	if n.Server == n.Laptop {
		complain("--server-address and --laptop-address are both %s", n.Server)
	}
	for flag, address := range map[string]netip.Addr{"--server-address": n.Server, "--laptop-address": n.Laptop, "the uplink": n.Uplink()} {
		if n.LoadBalancers.Contains(address) {
			complain("--load-balancers %s holds %s, which is the address of %s", n.LoadBalancers, address, flag)
		}
	}
	if n.NodeMask <= n.PodCIDR.Bits() || n.NodeMask > 29 {
		complain("--node-mask: /%d must be longer than that of --pod-cidr %s and at most /29", n.NodeMask, n.PodCIDR)
	} else if shares := 1 << min(n.NodeMask-n.PodCIDR.Bits(), 30); n.Nodes > shares {
		complain("--nodes %d: --pod-cidr %s has room for %d nodes of a /%d each", n.Nodes, n.PodCIDR, shares, n.NodeMask)
	}
	if n.ServiceCIDR.Bits() > 28 {
		complain("--service-cidr: %s is too small: use a /28 or larger", n.ServiceCIDR)
	}
	if n.Nodes < 1 {
		complain("--nodes %d: a cluster has at least one node", n.Nodes)
	} else if addresses := n.nodeAddresses(); len(addresses) < n.Nodes {
		complain("--nodes %d: --underlay %s has addresses for %d nodes", n.Nodes, n.Underlay, len(addresses))
	}
	return errors.Join(append(failures, n.validateDualStack())...)
}

// usable says whether an address can be given to a host of the underlay.
func (n Network) usable(a netip.Addr) bool {
	return a.IsValid() && n.Underlay.Contains(a) && a != n.Underlay.Addr() && n.Underlay.Contains(a.Next())
}

// Uplink is the root namespace's address on the underlay: the last host address.
func (n Network) Uplink() netip.Addr { return hostOf(n.Underlay, 1<<(32-n.Underlay.Bits())-2) }

// nodeAddresses lists the first n.Nodes addresses that nodes may have: the underlay's, without those of others.
func (n Network) nodeAddresses() []netip.Addr {
	var addresses []netip.Addr
	for a := n.Underlay.Addr().Next(); n.usable(a) && len(addresses) < n.Nodes; a = a.Next() {
		if a != n.Server && a != n.Laptop && a != n.Uplink() && !n.LoadBalancers.Contains(a) {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// Node is one node of the lab.
type Node struct {
	Name    string
	Address netip.Addr
	IPv6    netip.Addr // invalid without dual stack
	NetNS   string     // path
}

// NodeList lists the nodes: node-1, node-2, …
func (n Network) NodeList() []Node {
	nodes := make([]Node, 0, n.Nodes)
	for i, address := range n.nodeAddresses() {
		name := "node-" + strconv.Itoa(i+1)
		node := Node{Name: name, Address: address, NetNS: netns.Path(n.namespace(name))}
		if n.DualStack {
			node.IPv6 = n.ipv6Of(address)
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// namespace names the network namespace of a place: "switch", "laptop" or a node's name.
func (n Network) namespace(place string) string { return n.Cluster + "-" + place }

// SwitchNetNS is the path of the switch's namespace, where the API server listens.
func (n Network) SwitchNetNS() string { return netns.Path(n.namespace("switch")) }

// LaptopNetNS is the path of the laptop's namespace.
func (n Network) LaptopNetNS() string { return netns.Path(n.namespace("laptop")) }

// PodNetNSPrefix is what the names of the cluster's Pods' namespaces begin with, before "-pod-UID".
func (n Network) PodNetNSPrefix() string { return n.Cluster }

// ServiceAddress is the i-th address of the Service network: 1 is `kubernetes`, 10 is cluster DNS.
func (n Network) ServiceAddress(i int) netip.Addr { return hostOf(n.ServiceCIDR, uint32(i)) }
