package ipvs

import (
	"fmt"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/backend"
)

// linuxKernel is the kernel of a network namespace.
type linuxKernel struct {
	options backend.Options
	family  int  // unix.AF_INET or AF_INET6
	nft     bool // iptables programs nf_tables
	netlink *netlink.Handle
	sets    map[int]*nl.SocketHandle // the socket of changeEntry
	ipvs    *ipvs.Handle
}

// openKernel opens sockets in the calling thread's network namespace. The kernel must have IPVS.
func openKernel(options backend.Options) (*linuxKernel, error) {
	k, err := openWithoutIPVS(options)
	if err != nil {
		return nil, err
	}
	if k.ipvs, err = ipvs.New(""); err != nil {
		k.close()
		return nil, fmt.Errorf("open IPVS: %w", err)
	}
	return k, nil
}

// openWithoutIPVS is openKernel for addresses, sets and rules only.
func openWithoutIPVS(options backend.Options) (*linuxKernel, error) {
	k := &linuxKernel{options: options, family: unix.AF_INET}
	if options.Family == corev1.IPv6Protocol {
		k.family = unix.AF_INET6
	}
	var err error
	if k.nft, err = usesNFTables(); err != nil {
		return nil, err
	}
	if k.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		k.netlink.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	k.sets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: socket}}
	return k, nil
}

func (k *linuxKernel) close() {
	if k.ipvs != nil {
		k.ipvs.Close()
	}
	k.sets[unix.NETLINK_NETFILTER].Close()
	k.netlink.Close()
}
