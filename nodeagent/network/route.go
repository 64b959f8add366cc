package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

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
	n.routes = slices.Clone(wanted)
	filter := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_MAIN}
	existing, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
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

// keepRoutes puts back the routes of this package that somebody deletes, or that went with a link which is up again, until ctx is done.
func (n *Node) keepRoutes(ctx context.Context) error {
	routes, links := make(chan netlink.RouteUpdate, 64), make(chan netlink.LinkUpdate, 64)
	if err := netlink.RouteSubscribe(routes, ctx.Done()); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	if err := netlink.LinkSubscribe(links, ctx.Done()); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	for {
		select {
		case update, open := <-routes:
			if !open {
				return nil
			}
			n.restore(update)
		case update, open := <-links:
			if !open {
				return nil
			}
			// The kernel tells of no route that goes because a link goes down.
			if update.Attrs().Name == n.config.Underlay && update.Attrs().Flags&net.FlagRunning != 0 {
				n.restoreAll()
			}
		}
	}
}

// restore puts a deleted route back, if it is wanted.
func (n *Node) restore(update netlink.RouteUpdate) {
	if update.Type != unix.RTM_DELROUTE || !n.isWanted(update.Route) {
		return
	}
	slog.Warn("somebody deleted a route of the Pod network; putting it back", "route", update.Route.String())
	if err := netlink.RouteReplace(&update.Route); err != nil {
		slog.Error("put a route of the Pod network back", "route", update.Route.String(), "error", err)
	}
}

// restoreAll sets what is missing of the routes that SetRoutes was told last.
func (n *Node) restoreAll() {
	n.mutex.Lock()
	wanted := n.routes
	n.mutex.Unlock()
	if wanted == nil {
		return // nobody has said yet: what a former agent set stays
	}
	if err := n.SetRoutes(wanted); err != nil {
		slog.Error("put the routes of the Pod network back", "error", err)
	}
}

// isWanted says whether a route that was deleted should be there: one to a node as SetRoutes was told, or one to a Pod whose link is still
// there. A link's routes go with it.
func (n *Node) isWanted(route netlink.Route) bool {
	if route.Dst == nil {
		return false
	}
	ones, _ := route.Dst.Mask.Size()
	destination, _ := netip.AddrFromSlice(route.Dst.IP)
	prefix := netip.PrefixFrom(destination.Unmap(), ones)
	via, _ := netip.AddrFromSlice(route.Gw)
	n.mutex.Lock()
	toNode := slices.ContainsFunc(n.routes, func(wanted NodeRoute) bool {
		return wanted.PodCIDR.Masked() == prefix && wanted.Via == via.Unmap()
	})
	own := n.podCIDR.Contains(prefix.Addr()) || n.podCIDR6.Contains(prefix.Addr())
	// A route of IPv6 has no scope: one to a Pod is told by its interface.
	toPod := own && prefix.IsSingleIP() && route.LinkIndex != 0 && (prefix.Addr().Is6() || route.Scope == netlink.SCOPE_LINK)
	n.mutex.Unlock()
	if !toPod {
		return toNode
	}
	link, err := netlink.LinkByIndex(route.LinkIndex)
	return err == nil && link.Attrs().Flags&net.FlagUp != 0
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
