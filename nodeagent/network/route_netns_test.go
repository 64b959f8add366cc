package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
)

func TestNetnsRoutesArePutBack(t *testing.T) {
	inNode(t, func() error {
		node := newNode(t)
		if err := node.Setup(netip.MustParsePrefix("10.244.0.0/24")); err != nil {
			return err
		}
		if err := node.SetRoutes([]NodeRoute{{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddr("192.168.1.3")}}); err != nil {
			return err
		}
		here := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		deleted := make(chan error, 1)
		go func() {
			defer cancel() // ends keepRoutes
			deleted <- netns.Do(here, func() error { return deleteUntilBack(ctx) })
		}()
		if err := node.keepRoutes(ctx); err != nil {
			return err
		}
		return <-deleted
	})
}

// Routes over a link that was down come back with it.
func TestNetnsRoutesComeBackWithTheirLink(t *testing.T) {
	inNode(t, func() error {
		// eth0 has to have a carrier, which a bridge has with a port that is up.
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "port"}, PeerName: "plug"}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		peer, err := netlink.LinkByName("plug")
		if err != nil {
			return err
		}
		if err := errors.Join(netlink.LinkSetMaster(pair, bridge), netlink.LinkSetUp(pair), netlink.LinkSetUp(peer)); err != nil {
			return err
		}
		node := newNode(t)
		if err := node.Setup(netip.MustParsePrefix("10.244.0.0/24")); err != nil {
			return err
		}
		if err := node.SetRoutes([]NodeRoute{{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddr("192.168.1.3")}}); err != nil {
			return err
		}
		here := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		back := make(chan error, 1)
		go func() {
			defer cancel() // ends keepRoutes
			back <- netns.Do(here, func() error { return downAndUpUntilBack(ctx, bridge) })
		}()
		if err := node.keepRoutes(ctx); err != nil {
			return err
		}
		return <-back
	})
}

// downAndUpUntilBack takes the link down and up again and again, until the route to the other node came back: the first time may be
// before anybody watches.
func downAndUpUntilBack(ctx context.Context, link netlink.Link) error {
	route := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.244.1.0/24")), Gw: netip.MustParseAddr("192.168.1.3").AsSlice()}
	for ctx.Err() == nil {
		if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetUp(link)); err != nil {
			return err
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
			found, err := netlink.RouteListFiltered(netlink.FAMILY_V4, route, netlink.RT_FILTER_DST|netlink.RT_FILTER_GW)
			if err != nil {
				return err
			}
			if len(found) == 1 {
				return nil
			}
		}
	}
	return fmt.Errorf("the route did not come back: %w", ctx.Err())
}

// deleteUntilBack deletes the route to the other node again and again, until one was put back: the first may go before anybody
// watches.
func deleteUntilBack(ctx context.Context) error {
	route := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.244.1.0/24")), Gw: netip.MustParseAddr("192.168.1.3").AsSlice(), Protocol: routeProtocol}
	for ctx.Err() == nil {
		if err := netlink.RouteDel(route); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
			found, err := netlink.RouteListFiltered(netlink.FAMILY_V4, route, netlink.RT_FILTER_DST|netlink.RT_FILTER_GW)
			if err != nil {
				return err
			}
			if len(found) == 1 {
				return nil
			}
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	}
	return fmt.Errorf("the route was not put back: %w", ctx.Err())
}
