package nodeagent

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"k8s.io/client-go/rest"
)

// Config is what an agent needs to know. Fields without a default must be set.
type Config struct {
	NodeName   string
	NodeIPs    []netip.Addr      // the node's addresses on the underlay: one of IPv4, on which the agent listens, and perhaps one of IPv6
	NodeLabels map[string]string // beside those of Kubernetes; nil: none
	Rest       *rest.Config      // of the identity system:node:NAME

	RootDir   string // state that survives a reboot
	RunDir    string // volatile, on a tmpfs; short, for there are sockets in it
	ImagesDir string // the image store, shared by all agents of the machine

	Port          int    // default 10250
	ClientCAFile  string // PEM: who signs the API server's client certificate
	TLSCertFile   string // PEM, the server's; default: one that is made and kept in RootDir/pki
	TLSKeyFile    string
	PullNetNS     string         // path of the network namespace from which registries are reached; empty: the agent's own
	MaxPods       int            // default 110
	ClusterDNS    []netip.Addr   // default 10.96.0.10
	ClusterDomain string         // default cluster.local
	ResolvConf    string         // the node's own, for dnsPolicy Default; default /etc/resolv.conf
	ClusterCIDRs  []netip.Prefix // of all Pods, one a family; default 10.244.0.0/16

	Underlay string // the interface to other nodes; default eth0

	NetNSPrefix  string // of Pods' network namespaces' names; default kubelite-NODE
	CgroupParent string // default /kubelite/NODE
	Runc, Conmon string // paths; default: as found in PATH
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.NodeName == "":
		return c, errors.New("nodeagent: no node name")
	case len(c.NodeIPs) == 0:
		return c, fmt.Errorf("nodeagent: node %s has no address", c.NodeName)
	case c.Rest == nil:
		return c, errors.New("nodeagent: no API server")
	case c.RootDir == "" || c.RunDir == "" || c.ImagesDir == "":
		return c, errors.New("nodeagent: root, run and images folders are needed")
	case c.ClientCAFile == "":
		return c, errors.New("nodeagent: no CA file to know the API server by")
	}
	c.Port = cmp.Or(c.Port, 10250)
	c.MaxPods = cmp.Or(c.MaxPods, 110)
	c.ClusterDomain = cmp.Or(c.ClusterDomain, "cluster.local")
	c.ResolvConf = cmp.Or(c.ResolvConf, "/etc/resolv.conf")
	c.Underlay = cmp.Or(c.Underlay, "eth0")
	c.NetNSPrefix = cmp.Or(c.NetNSPrefix, "kubelite-"+c.NodeName)
	c.CgroupParent = cmp.Or(c.CgroupParent, "/kubelite/"+c.NodeName)
	if len(c.ClusterDNS) == 0 {
		c.ClusterDNS = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, 10})}
	}
	if len(c.ClusterCIDRs) == 0 {
		c.ClusterCIDRs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, 0, 0}), 16)}
	}
	return c, nil
}

// nodeIPs are NodeIPs as the API has them.
func (c Config) nodeIPs() []string {
	addresses := make([]string, len(c.NodeIPs))
	for i, address := range c.NodeIPs {
		addresses[i] = address.String()
	}
	return addresses
}

func (c Config) podDir() string    { return filepath.Join(c.RootDir, "pods") }
func (c Config) logDir() string    { return filepath.Join(c.RootDir, "logs") }
func (c Config) volumeDir() string { return filepath.Join(c.RunDir, "volumes") }
