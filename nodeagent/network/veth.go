package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	kubenetns "github.com/kubelite/kubelite/internal/netns"
)

const podInterface = "eth0"

// Attach gives the Pod an address and joins its namespace, at the path netNS, to the node. The Pod's loopback must be up. A Pod that is
// attached already keeps its address and is attached anew.
func (n *Node) Attach(podUID, netNS string) (netip.Addr, error) {
	n.mutex.Lock()
	if n.allocator == nil {
		n.mutex.Unlock()
		return netip.Addr{}, ErrNoPodCIDR
	}
	address, err := n.allocator.allocate(podUID)
	gateway := n.allocator.gateway
	n.mutex.Unlock()
	if err != nil {
		return netip.Addr{}, err
	}
	if err := connect(podUID, netNS, address, gateway); err != nil {
		return netip.Addr{}, errors.Join(fmt.Errorf("attach to %s: %w", address, err), n.Detach(podUID))
	}
	return address, nil
}

// Detach removes the Pod's veth pair, routes and address. Missing ones are no error.
func (n *Node) Detach(podUID string) error {
	if err := deleteLink(vethName(podUID)); err != nil {
		return err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.allocator == nil {
		return nil
	}
	return n.allocator.release(podUID)
}

// vethName is the node's end of the Pod's veth pair.
func vethName(podUID string) string {
	sum := sha256.Sum256([]byte(podUID))
	return "veth" + hex.EncodeToString(sum[:4])
}

func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// connect builds the pair and both ends' addresses, neighbours and routes.
func connect(podUID, netNS string, address, gateway netip.Addr) error {
	name := vethName(podUID)
	if err := deleteLink(name); err != nil {
		return err
	}
	file, err := os.Open(netNS)
	if err != nil {
		return err
	}
	defer file.Close()
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.HardwareAddr = name, hardwareAddress(gateway)
	pair := &netlink.Veth{
		LinkAttrs: attributes, PeerName: podInterface, PeerHardwareAddr: hardwareAddress(address), PeerNamespace: netlink.NsFd(file.Fd()),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth pair %s: %w", name, err)
	}
	if err := kubenetns.Do(netNS, func() error { return configurePodEnd(address, gateway) }); err != nil {
		return err
	}
	return configureNodeEnd(name, address, gateway)
}

// configurePodEnd is run in the Pod's namespace:
//
//	ip addr add 10.244.0.2/32 dev eth0
//	ip neigh add 10.244.0.1 lladdr 0a:58:0a:f4:00:01 dev eth0 nud permanent
//	ip route add 10.244.0.1 dev eth0 scope link
//	ip route add default via 10.244.0.1 dev eth0
func configurePodEnd(address, gateway netip.Addr) error {
	link, err := netlink.LinkByName(podInterface)
	if err != nil {
		return fmt.Errorf("find %s: %w", podInterface, err)
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: hostNet(address)}); err != nil {
		return fmt.Errorf("add %s to %s: %w", address, podInterface, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", podInterface, err)
	}
	if err := addNeighbour(link, gateway); err != nil {
		return err
	}
	index := link.Attrs().Index
	toGateway := &netlink.Route{LinkIndex: index, Dst: hostNet(gateway), Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteAdd(toGateway); err != nil {
		return fmt.Errorf("add route to %s: %w", gateway, err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	return nil
}

// configureNodeEnd is run in the node's namespace:
//
//	ip addr add 10.244.0.1/32 dev veth1a2b3c4d
//	ip neigh add 10.244.0.2 lladdr 0a:58:0a:f4:00:02 dev veth1a2b3c4d nud permanent
//	ip route replace 10.244.0.2 dev veth1a2b3c4d scope link src 10.244.0.1
func configureNodeEnd(name string, address, gateway netip.Addr) error {
	// off before the link is up: no address is made and none is waited for
	err := writeSysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: hostNet(gateway)}); err != nil {
		return fmt.Errorf("add %s to %s: %w", gateway, name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	if err := addNeighbour(link, address); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostNet(address), Scope: netlink.SCOPE_LINK, Src: gateway.AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("add route to %s: %w", address, err)
	}
	return nil
}

func addNeighbour(link netlink.Link, address netip.Addr) error {
	err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: hardwareAddress(address),
	})
	if err != nil {
		return fmt.Errorf("add neighbour %s: %w", address, err)
	}
	return nil
}

// hardwareAddress is 0a:58 and the four bytes of the IPv4 address, as CNI plugins have it.
func hardwareAddress(address netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, address.AsSlice()...)
}

func hostNet(address netip.Addr) *net.IPNet {
	return ipNet(netip.PrefixFrom(address, address.BitLen()))
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
