package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NodeRoute is the way to the Pods of another node.
type NodeRoute struct {
	PodCIDR netip.Prefix
	Via     netip.Addr // the node's InternalIP
}

// SetRoutes makes the routes to other nodes exactly these. Routes that this package did not make are left alone. A node that cannot be
// reached from here makes the error, the other routes are set.
func (n *Node) SetRoutes(wanted []NodeRoute) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	filter := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_MAIN}
	existing, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes to nodes: %w", err)
	}
	current := map[NodeRoute]bool{}
	for _, route := range existing {
		if via, ok := netip.AddrFromSlice(route.Gw); ok && route.Dst != nil {
			ones, _ := route.Dst.Mask.Size()
			destination, _ := netip.AddrFromSlice(route.Dst.IP)
			current[NodeRoute{PodCIDR: netip.PrefixFrom(destination.Unmap(), ones), Via: via.Unmap()}] = true
		}
	}
	stale, missing := planRoutes(current, wanted)
	var failures []error
	for _, route := range stale {
		err := netlink.RouteDel(kernelRoute(route))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			failures = append(failures, fmt.Errorf("delete route %s via %s: %w", route.PodCIDR, route.Via, err))
		}
	}
	for _, route := range missing {
		if err := netlink.RouteReplace(kernelRoute(route)); err != nil {
			failures = append(failures, fmt.Errorf("add route %s via %s: %w", route.PodCIDR, route.Via, err))
		}
	}
	return errors.Join(failures...)
}

// planRoutes says what to delete and what to add, in this order. A range that moves to another node is only added: adding replaces.
func planRoutes(current map[NodeRoute]bool, wanted []NodeRoute) (stale, missing []NodeRoute) {
	ranges, keep := map[netip.Prefix]bool{}, map[NodeRoute]bool{}
	for _, route := range wanted {
		route.PodCIDR = route.PodCIDR.Masked()
		ranges[route.PodCIDR] = true
		keep[route] = true
		if !current[route] {
			missing = append(missing, route)
		}
	}
	for route := range current {
		if !keep[route] && !ranges[route.PodCIDR] {
			stale = append(stale, route)
		}
	}
	return stale, missing
}

// kernelRoute is: ip route replace 10.244.1.0/24 via 192.168.1.3 proto 75
func kernelRoute(route NodeRoute) *netlink.Route {
	return &netlink.Route{Dst: ipNet(route.PodCIDR), Gw: route.Via.AsSlice(), Protocol: routeProtocol}
}
