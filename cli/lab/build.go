package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
)

// bridgeName is the switch's bridge in its own namespace.
const bridgeName = "switch0"

// Built says whether Build would find nothing to make: every namespace is there, and every host is plugged into the switch.
func (n Network) Built() bool {
	if !netns.Exists(n.namespace("switch")) {
		return false
	}
	handle, close, err := handleAt(n.SwitchNetNS())
	if err != nil {
		return false
	}
	defer close()
	bridge, err := handle.LinkByName(bridgeName)
	if err != nil {
		return false
	}
	for _, place := range n.places() {
		port, err := handle.LinkByName(place.name)
		if err != nil || port.Attrs().MasterIndex != bridge.Attrs().Index || !netns.Exists(n.namespace(place.name)) {
			return false
		}
	}
	return true
}

// NamespacesExist says whether every namespace of the lab is there, plugged in or not.
func (n Network) NamespacesExist() bool {
	for _, place := range n.places() {
		if !netns.Exists(n.namespace(place.name)) {
			return false
		}
	}
	return netns.Exists(n.namespace("switch"))
}

type place struct {
	name    string
	address netip.Addr
}

// places are the hosts on the switch.
func (n Network) places() []place {
	places := []place{{"laptop", n.Laptop}}
	for _, node := range n.NodeList() {
		places = append(places, place{node.Name, node.Address})
	}
	return places
}

// Build makes what is missing of the lab: the switch, the laptop, the nodes. It is idempotent, and leaves what is right as it is,
// with the processes in it.
func (n Network) Build() error {
	if err := n.buildSwitch(); err != nil {
		return fmt.Errorf("build the lab's switch: %w", err)
	}
	for _, place := range n.places() {
		err := n.buildHost(place)
		if err == nil {
			err = answerEveryPacket(netns.Path(n.namespace(place.name)))
		}
		if err != nil {
			return fmt.Errorf("build the lab's %s: %w", place.name, err)
		}
	}
	for _, place := range n.places() {
		if err := n.waitForCarrier(netns.Path(n.namespace(place.name)), cable{port: place.name, peer: "eth0"}); err != nil {
			return fmt.Errorf("build the lab's %s: %w", place.name, err)
		}
	}
	return nil
}

// carrierTimeout bounds the wait for a cable; the kernel needs a few milliseconds.
const carrierTimeout = 5 * time.Second

// waitForCarrier waits until both ends of the cable carry packets. The kernel opens them some time after they were set up, and what
// is sent before is lost: an ARP request, which would be repeated only after a second.
func (n Network) waitForCarrier(path string, c cable) error {
	deadline := time.Now().Add(carrierTimeout)
	for _, end := range []struct{ path, name string }{{n.SwitchNetNS(), bridgeName}, {n.SwitchNetNS(), c.port}, {path, c.peer}} {
		handle, close, err := handleAt(end.path)
		if err != nil {
			return err
		}
		defer close()
		for {
			link, err := handle.LinkByName(end.name)
			if err != nil {
				return fmt.Errorf("wait for link %s: %w", end.name, err)
			}
			if link.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("link %s is %s for %s", end.name, link.Attrs().OperState, carrierTimeout)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// answerEveryPacket lets the namespace at path send an ICMP error for every packet that it refuses. By default the kernel sends an
// address one a second, and none at all while it also tells that address of a shorter way (ip_rt_send_redirect and icmp_send share
// one account), as a node does for load-balancer addresses: refused connections would then time out.
func answerEveryPacket(path string) error {
	return netns.Do(path, func() error {
		err := os.WriteFile("/proc/sys/net/ipv6/icmp/ratelimit", []byte("0"), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0o644)
	})
}

func (n Network) buildSwitch() error {
	if !netns.Exists(n.namespace("switch")) {
		if err := remake(n.namespace("switch")); err != nil {
			return err
		}
	}
	handle, close, err := handleAt(n.SwitchNetNS())
	if err != nil {
		return err
	}
	defer close()
	bridge, err := handle.LinkByName(bridgeName)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attributes := netlink.LinkAttrs{Name: bridgeName, HardwareAddr: hardwareAddress(n.Server)}
		// Without snooping it floods multicast from the start, as IPv6's search for neighbours needs.
		snooping := false
		if err := handle.LinkAdd(&netlink.Bridge{LinkAttrs: attributes, MulticastSnooping: &snooping}); err != nil {
			return fmt.Errorf("add bridge: %w", err)
		}
		bridge, err = handle.LinkByName(bridgeName)
	}
	if err != nil {
		return err
	}
	if err := n.configure(handle, bridge, n.Server); err != nil {
		return err
	}
	if err := answerEveryPacket(n.SwitchNetNS()); err != nil {
		return err
	}
	// The switch is every host's gateway. It forwards, and knows no way out: so that what is sent elsewhere is answered at once
	// with "unreachable", where a gateway that does not forward would let it wait for a timeout.
	return netns.Do(n.SwitchNetNS(), func() error {
		if n.DualStack {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o644); err != nil {
				return err
			}
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
}

// buildHost makes a namespace with an eth0 that is plugged into the switch.
func (n Network) buildHost(host place) error {
	path := netns.Path(n.namespace(host.name))
	if !netns.Exists(n.namespace(host.name)) {
		if err := remake(n.namespace(host.name)); err != nil {
			return err
		}
	}
	if err := n.plug(path, cable{port: host.name, peer: "eth0", address: host.address}); err != nil {
		return err
	}
	handle, close, err := handleAt(path)
	if err != nil {
		return err
	}
	defer close()
	link, err := handle.LinkByName("eth0")
	if err != nil {
		return err
	}
	return n.configureHost(handle, link, host.address)
}

// cable is a veth pair between the switch and a host: port is its end on the switch, peer the one in the host's namespace.
type cable struct {
	port, peer string
	address    netip.Addr // of the host
}

// plug makes the cable to the namespace at path, or plugs the one that is there into the switch. An empty path is the caller's
// namespace.
func (n Network) plug(path string, c cable) error {
	handle, close, err := handleAt(n.SwitchNetNS())
	if err != nil {
		return err
	}
	defer close()
	bridge, err := handle.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	if err := n.layCable(handle, path, c); err != nil {
		return err
	}
	port, err := handle.LinkByName(c.port)
	if err != nil {
		return fmt.Errorf("find port %s of the switch: %w", c.port, err)
	}
	if port.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := handle.LinkSetMaster(port, bridge); err != nil {
			return fmt.Errorf("plug %s into the switch: %w", c.port, err)
		}
	}
	return handle.LinkSetUp(port)
}

// layCable makes the veth pair if it is not there. Ends that lead elsewhere, as after a namespace was deleted by hand, are in its
// way: the kernel deletes them when it gets round to it.
func (n Network) layCable(handle *netlink.Handle, path string, c cable) error {
	host, close, err := handleAt(path)
	if err != nil {
		return err
	}
	defer close()
	port, portErr := handle.LinkByName(c.port)
	peer, peerErr := host.LinkByName(c.peer)
	if portErr == nil && peerErr == nil && port.Attrs().ParentIndex == peer.Attrs().Index && peer.Attrs().ParentIndex == port.Attrs().Index {
		return nil
	}
	for _, end := range []struct {
		handle *netlink.Handle
		name   string
	}{{handle, c.port}, {host, c.peer}} {
		stale, err := end.handle.LinkByName(end.name)
		if err == nil {
			err = end.handle.LinkDel(stale)
		}
		if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("delete stale end %s of a cable: %w", end.name, err)
		}
	}
	target, err := open(path)
	if err != nil {
		return err
	}
	defer target.Close()
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: c.port},
		PeerName:         c.peer,
		PeerHardwareAddr: hardwareAddress(c.address),
		PeerNamespace:    netlink.NsFd(int(target)),
	}
	if err := handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", c.port, err)
	}
	return nil
}

// hardwareAddress is 0a:58 and the four bytes of the IPv4 address, as CNI plugins have it: a host that is made anew has the address
// that the others remember.
func hardwareAddress(address netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, address.AsSlice()...)
}

// configureHost configures a host's link and its way to everything else: a node sends to a ClusterIP only where it has a route for
// it, before the address is rewritten.
func (n Network) configureHost(handle *netlink.Handle, link netlink.Link, address netip.Addr) error {
	if err := n.configure(handle, link, address); err != nil {
		return err
	}
	for _, gateway := range n.hostAddresses(n.Server) {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.Addr().AsSlice()}
		if err := handle.RouteReplace(route); err != nil {
			return fmt.Errorf("set the default route via %s: %w", gateway.Addr(), err)
		}
	}
	return nil
}

// configure gives a link its addresses on the underlay and brings it and the loopback up.
func (n Network) configure(handle *netlink.Handle, link netlink.Link, address netip.Addr) error {
	for _, own := range n.hostAddresses(address) {
		ip := &netlink.Addr{IPNet: &net.IPNet{IP: own.Addr().AsSlice(), Mask: net.CIDRMask(own.Bits(), own.Addr().BitLen())}}
		if own.Addr().Is6() {
			ip.Flags = unix.IFA_F_NODAD // at once, without looking for another that has it
		}
		if err := handle.AddrReplace(link, ip); err != nil {
			return fmt.Errorf("set address %s: %w", own, err)
		}
	}
	if loopback, err := handle.LinkByName("lo"); err == nil {
		if err := handle.LinkSetUp(loopback); err != nil {
			return fmt.Errorf("set loopback up: %w", err)
		}
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// remake makes the namespace name, in place of a broken one.
func remake(name string) error {
	if err := netns.Delete(name); err != nil {
		return err
	}
	_, err := netns.New(name)
	return err
}

// open opens the namespace at path; an empty path is the caller's.
func open(path string) (vnetns.NsHandle, error) {
	if path == "" {
		path = "/proc/thread-self/ns/net"
	}
	return vnetns.GetFromPath(path)
}

// handleAt opens a netlink handle in the namespace at path.
func handleAt(path string) (handle *netlink.Handle, close func(), err error) {
	target, err := open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer target.Close()
	handle, err = netlink.NewHandleAt(target)
	if err != nil {
		return nil, nil, fmt.Errorf("open netlink in %s: %w", path, err)
	}
	return handle, handle.Close, nil
}
