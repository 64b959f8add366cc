package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/conntrack"
)

// Ports on which kube-proxy answers what its name says.
const (
	HealthzPort = 10256
	MetricsPort = 10249
)

// defaultCheckInterval is how often the kernel's rules are looked at when Config does not say.
const defaultCheckInterval = time.Second

// Config is what a proxy needs to know. Where kube-proxy has a setting of the name, it means the same.
type Config struct {
	// RestConfig leads to the API server. Its content type is set to protobuf.
	RestConfig *rest.Config `json:"-"`
	// NodeName is the name of the Node whose endpoints are local.
	NodeName string
	// NodeIPs are the node's own addresses, the primary one first. Services are served in the families that they are of.
	NodeIPs []netip.Addr
	// NodeIPsOfNode says that NodeIPs are the Node object's. When it has others, Run ends with an error, as kube-proxy does.
	NodeIPsOfNode bool
	// ClusterCIDRs hold the addresses of all Pods, one Prefix a family. What comes from elsewhere to a ClusterIP is masqueraded; without
	// a Prefix of its family it is not.
	ClusterCIDRs []netip.Prefix
	// Mode is how the kernel is programmed; empty for IPTables.
	Mode Mode
	// IPVSScheduler is how mode IPVS spreads connections; empty for rr.
	IPVSScheduler string
	// IPVSStrictARP keeps a node in mode IPVS from answering ARP for the Services' addresses that it has.
	IPVSStrictARP bool
	// NetNS is the path of the network namespace to program; empty for the process's own.
	NetNS string
	// NodePortAddresses are the networks of the node's addresses at which node ports are served, and the words primary (NodeIPs),
	// localhost and all; empty for primary in mode NFTables and for all elsewhere.
	NodePortAddresses []string
	// NoLocalhostNodePorts keeps node ports off 127.0.0.1 and the sysctl route_localnet as it is, or was before the proxy opened it. Only
	// mode IPTables serves them there.
	NoLocalhostNodePorts bool
	// MasqueradeAll masquerades everything that is sent to a ClusterIP.
	MasqueradeAll bool
	// MasqueradeBit is the bit of the packet mark for packets to masquerade, 0 to 31; nil for 14.
	MasqueradeBit *int
	// HealthzBindAddress is where /healthz and /livez are served; the zero AddrPort for nowhere.
	HealthzBindAddress netip.AddrPort
	// MetricsBindAddress is where /metrics and /proxyMode are served; the zero AddrPort for nowhere.
	MetricsBindAddress netip.AddrPort
	// Conntrack are limits of connection tracking to set at the start.
	Conntrack conntrack.Limits
	// CheckInterval is how often the kernel's rules are looked at; 0 for a second.
	CheckInterval time.Duration
}

// defaultMasqueradeBit is kube-proxy's.
const defaultMasqueradeBit = 14

// withDefaults fills in what is left out. It returns an error for what cannot be served.
func (c Config) withDefaults() (Config, error) {
	if c.Mode == "" {
		c.Mode = IPTables
	}
	if modes[c.Mode].start == nil {
		return c, fmt.Errorf("there is no proxy mode %q: choose one of %v", c.Mode, Modes())
	}
	if c.NodeName == "" {
		return c, errors.New("NodeName is needed")
	}
	if len(c.NodeIPs) == 0 {
		return c, errors.New("the node has no address: NodeIPs is needed")
	}
	if c.CheckInterval == 0 {
		c.CheckInterval = defaultCheckInterval
	}
	if c.MasqueradeBit == nil {
		bit := defaultMasqueradeBit
		c.MasqueradeBit = &bit
	}
	if *c.MasqueradeBit < 0 || *c.MasqueradeBit > 31 {
		return c, fmt.Errorf("masquerade bit %d is not one of 0 to 31", *c.MasqueradeBit)
	}
	if len(c.NodePortAddresses) == 0 && c.Mode == NFTables {
		c.NodePortAddresses = []string{NodePortAddressesPrimary}
	}
	return c, ValidateNodePortAddresses(c.NodePortAddresses)
}

// ValidateNodePortAddresses says what is wrong with Config.NodePortAddresses. As in kube-proxy since 1.37 the words may stand beside
// networks, but each only once.
func ValidateNodePortAddresses(addresses []string) error {
	for i, text := range addresses {
		if _, err := nodePortNetworks(text, nil); err != nil {
			return err
		}
		if _, err := netip.ParsePrefix(text); err != nil && slices.Contains(addresses[:i], text) {
			return fmt.Errorf("%q is given twice", text)
		}
	}
	return nil
}

// families are those of NodeIPs, the primary one first.
func (c Config) families() []corev1.IPFamily {
	var families []corev1.IPFamily
	for _, address := range c.NodeIPs {
		if family := familyOf(address); !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	return families
}

// options are the backend's of the family.
func (c Config) options(family corev1.IPFamily) backend.Options {
	networks := c.nodePortAddresses(family)
	onLocalhost := len(networks) == 0 || slices.ContainsFunc(networks, netip.MustParsePrefix("127.0.0.0/8").Overlaps)
	options := backend.Options{
		Family:             family,
		NodePortAddresses:  networks,
		LocalhostNodePorts: family == corev1.IPv4Protocol && c.Mode == IPTables && !c.NoLocalhostNodePorts && onLocalhost,
		MasqueradeAll:      c.MasqueradeAll,
		MasqueradeBit:      *c.MasqueradeBit,
	}
	for _, cidr := range c.ClusterCIDRs {
		if familyOf(cidr.Addr()) == family && !options.ClusterCIDR.IsValid() {
			options.ClusterCIDR = cidr.Masked()
		}
	}
	for _, address := range c.NodeIPs {
		if familyOf(address) == family {
			options.NodeIPs = append(options.NodeIPs, address)
		}
	}
	return options
}

// Words that stand for networks in Config.NodePortAddresses.
const (
	NodePortAddressesPrimary   = "primary"
	NodePortAddressesLocalhost = "localhost"
	NodePortAddressesAll       = "all"
)

// nodePortAddresses are the networks of the family at which node ports are served; empty for all.
func (c Config) nodePortAddresses(family corev1.IPFamily) []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range c.NodePortAddresses {
		found, err := nodePortNetworks(text, c.NodeIPs)
		if err != nil {
			continue // withDefaults refused it
		}
		for _, network := range found {
			switch {
			case familyOf(network.Addr()) != family || slices.Contains(networks, network):
			case network.Bits() == 0:
				return nil
			default:
				networks = append(networks, network)
			}
		}
	}
	return networks
}

// nodePortNetworks are what a network or a word of Config.NodePortAddresses stands for.
func nodePortNetworks(text string, nodeIPs []netip.Addr) ([]netip.Prefix, error) {
	switch text {
	case NodePortAddressesAll:
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, nil
	case NodePortAddressesLocalhost:
		return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, nil
	case NodePortAddressesPrimary:
		var networks []netip.Prefix
		for _, address := range nodeIPs {
			networks = append(networks, netip.PrefixFrom(address, address.BitLen()))
		}
		return networks, nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a network, as 192.168.1.0/24, nor one of primary, localhost, all", text)
	}
	return []netip.Prefix{network.Masked()}, nil
}

// listenAddresses are the addresses of the calling thread's network namespace in the networks; the unspecified one of the family
// for no networks.
func listenAddresses(family corev1.IPFamily, networks []netip.Prefix) ([]netip.Addr, error) {
	if len(networks) == 0 {
		if family == corev1.IPv6Protocol {
			return []netip.Addr{netip.IPv6Unspecified()}, nil
		}
		return []netip.Addr{netip.IPv4Unspecified()}, nil
	}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var addresses []netip.Addr
	for _, one := range found {
		prefix, err := netip.ParsePrefix(one.String())
		if err == nil && slices.ContainsFunc(networks, func(network netip.Prefix) bool { return network.Contains(prefix.Addr()) }) {
			addresses = append(addresses, prefix.Addr())
		}
	}
	return addresses, nil
}

func familyOf(address netip.Addr) corev1.IPFamily {
	if address.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}
