package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"

	"github.com/kubelite/kubelite/internal/netns"
)

// bridgeName is the switch's bridge in its own namespace.
const bridgeName = "switch0"

// Built says whether every namespace of the lab is there.
func (n Network) Built() bool {
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

// Build makes what is missing of the lab: the switch, the laptop, the nodes. It is idempotent. A host that was left half-made
// is made anew.
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
	return nil
}

// answerEveryPacket lets the namespace at path send an ICMP error for every packet that it refuses. By default the kernel sends an
// address one a second, and none at all while it also tells that address of a shorter way (ip_rt_send_redirect and icmp_send share
// one account), as a node does for load-balancer addresses: refused connections would then time out.
func answerEveryPacket(path string) error {
	return netns.Do(path, func() error {
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
		if err := handle.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}); err != nil {
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
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
}

// buildHost makes a namespace with an eth0 that is plugged into the switch.
func (n Network) buildHost(host place) error {
	name := n.namespace(host.name)
	if netns.Exists(name) {
		handle, close, err := handleAt(netns.Path(name))
		if err != nil {
			return err
		}
		defer close()
		if link, err := handle.LinkByName("eth0"); err == nil {
			return n.configureHost(handle, link, host.address)
		}
	}
	if err := remake(name); err != nil {
		return err
	}
	if err := n.plug(netns.Path(name), host.name, "eth0"); err != nil {
		return err
	}
	handle, close, err := handleAt(netns.Path(name))
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

// plug joins the namespace at path to the switch by a veth pair: port on the switch, peer in the namespace. An empty path is
// the caller's namespace.
func (n Network) plug(path, port, peer string) error {
	handle, close, err := handleAt(n.SwitchNetNS())
	if err != nil {
		return err
	}
	defer close()
	target, err := open(path)
	if err != nil {
		return err
	}
	defer target.Close()
	if stale, err := handle.LinkByName(port); err == nil { // its other end went with a namespace a moment ago
		if err := handle.LinkDel(stale); err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
			return fmt.Errorf("delete stale port %s: %w", port, err)
		}
	}
	bridge, err := handle.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index},
		PeerName:      peer,
		PeerNamespace: netlink.NsFd(int(target)),
	}
	if err := handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", port, err)
	}
	link, err := handle.LinkByName(port)
	if err != nil {
		return err
	}
	return handle.LinkSetUp(link)
}

// configureHost configures a host's link and its way to everything else: a node sends to a ClusterIP only where it has a route for
// it, before the address is rewritten.
func (n Network) configureHost(handle *netlink.Handle, link netlink.Link, address netip.Addr) error {
	if err := n.configure(handle, link, address); err != nil {
		return err
	}
	gateway := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: n.Server.AsSlice()}
	if err := handle.RouteReplace(gateway); err != nil {
		return fmt.Errorf("set the default route via %s: %w", n.Server, err)
	}
	return nil
}

// configure gives a link its address on the underlay and brings it and the loopback up.
func (n Network) configure(handle *netlink.Handle, link netlink.Link, address netip.Addr) error {
	ip := &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(n.Underlay.Bits(), 32)}}
	if err := handle.AddrReplace(link, ip); err != nil {
		return fmt.Errorf("set address %s: %w", address, err)
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
		path = fmt.Sprintf("/proc/%d/ns/net", os.Getpid())
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
