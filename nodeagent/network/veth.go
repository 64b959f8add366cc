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

// Attach gives the Pod its addresses and joins its namespace, at the path netNS, to the node. The Pod's loopback must be up. A Pod that is
// attached already keeps its addresses and is attached anew.
func (n *Node) Attach(podUID, netNS string) (Addresses, error) {
	n.mutex.Lock()
	if n.allocator == nil {
		n.mutex.Unlock()
		return Addresses{}, ErrNoPodCIDR
	}
	address, err := n.allocator.allocate(podUID)
	gateway := n.withIPv6(n.allocator.gateway)
	pod := n.withIPv6(address)
	n.mutex.Unlock()
	if err != nil {
		return Addresses{}, err
	}
	if err := connect(podUID, netNS, pod, gateway); err != nil {
		return Addresses{}, errors.Join(fmt.Errorf("attach to %s: %w", address, err), n.Detach(podUID))
	}
	return pod, nil
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
func connect(podUID, netNS string, pod, gateway Addresses) error {
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
	attributes.Name, attributes.HardwareAddr = name, hardwareAddress(gateway.IPv4)
	pair := &netlink.Veth{
		LinkAttrs: attributes, PeerName: podInterface, PeerHardwareAddr: hardwareAddress(pod.IPv4), PeerNamespace: netlink.NsFd(file.Fd()),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth pair %s: %w", name, err)
	}
	if err := kubenetns.Do(netNS, func() error { return configurePodEnd(pod, gateway) }); err != nil {
		return err
	}
	return configureNodeEnd(name, pod, gateway)
}

// configurePodEnd is run in the Pod's namespace:
//
//	ip addr add 10.244.0.2/32 dev eth0
//	ip neigh add 10.244.0.1 lladdr 0a:58:0a:f4:00:01 dev eth0 nud permanent
//	ip route add 10.244.0.1 dev eth0 scope link
//	ip route add default via 10.244.0.1 dev eth0
//
// and the same of IPv6, if there is any.
func configurePodEnd(pod, gateway Addresses) error {
	if err := prepareIPv6(podInterface, pod); err != nil {
		return err
	}
	link, err := netlink.LinkByName(podInterface)
	if err != nil {
		return fmt.Errorf("find %s: %w", podInterface, err)
	}
	for _, address := range pod.all() {
		if err := addAddress(link, address); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", podInterface, err)
	}
	index, hardware := link.Attrs().Index, hardwareAddress(gateway.IPv4)
	for _, gateway := range gateway.all() {
		if err := addNeighbour(link, gateway, hardware); err != nil {
			return err
		}
		toGateway := &netlink.Route{LinkIndex: index, Dst: hostNet(gateway), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteAdd(toGateway); err != nil {
			return fmt.Errorf("add route to %s: %w", gateway, err)
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("add default route via %s: %w", gateway, err)
		}
	}
	return nil
}

// configureNodeEnd is run in the node's namespace:
//
//	ip addr add 10.244.0.1/32 dev veth1a2b3c4d
//	ip neigh add 10.244.0.2 lladdr 0a:58:0a:f4:00:02 dev veth1a2b3c4d nud permanent
//	ip route replace 10.244.0.2 dev veth1a2b3c4d scope link src 10.244.0.1
//
// and the same of IPv6, if there is any.
func configureNodeEnd(name string, pod, gateway Addresses) error {
	if err := prepareIPv6(name, pod); err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, gateway := range gateway.all() {
		if err := addAddress(link, gateway); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	gateways := gateway.all()
	for i, address := range pod.all() {
		if err := addNeighbour(link, address, hardwareAddress(pod.IPv4)); err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostNet(address), Scope: netlink.SCOPE_LINK, Src: gateways[i].AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("add route to %s: %w", address, err)
		}
	}
	return nil
}

// prepareIPv6 readies a link of the Pod that is not up yet. Without an IPv6 address IPv6 is off, so that none is made and none is
// waited for; with one, the link has no other.
func prepareIPv6(link string, pod Addresses) error {
	settings := "net/ipv6/conf/" + link + "/"
	if !pod.IPv6.IsValid() {
		err := writeSysctl(settings+"disable_ipv6", "1")
		if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			return nil
		}
		return err
	}
	for _, setting := range [][2]string{{"addr_gen_mode", "1"}, {"accept_ra", "0"}, {"disable_ipv6", "0"}} {
		if err := writeSysctl(settings+setting[0], setting[1]); err != nil {
			return err
		}
	}
	return nil
}

// addAddress adds a host address. One of IPv6 is not probed for duplicates: it can be used at once.
func addAddress(link netlink.Link, address netip.Addr) error {
	added := &netlink.Addr{IPNet: hostNet(address)}
	if address.Is6() {
		added.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, added); err != nil {
		return fmt.Errorf("add %s to %s: %w", address, link.Attrs().Name, err)
	}
	return nil
}

func addNeighbour(link netlink.Link, address netip.Addr, hardware net.HardwareAddr) error {
	family := unix.AF_INET
	if address.Is6() {
		family = unix.AF_INET6
	}
	err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: hardware,
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
