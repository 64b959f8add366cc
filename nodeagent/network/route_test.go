package network

import (
	"net/netip"
	"slices"
	"testing"
)

func TestPlanRoutes(t *testing.T) {
	route := func(prefix, via string) NodeRoute {
		return NodeRoute{PodCIDR: netip.MustParsePrefix(prefix), Via: netip.MustParseAddr(via)}
	}
	current := map[NodeRoute]bool{
		route("10.244.1.0/24", "192.168.1.3"): true,
		route("10.244.2.0/24", "192.168.1.4"): true, // gone
		route("10.244.3.0/24", "192.168.1.5"): true, // moves
	}
	stale, missing := planRoutes(current, []NodeRoute{
		route("10.244.1.7/24", "192.168.1.3"), route("10.244.3.0/24", "192.168.1.6"), route("10.244.4.0/24", "192.168.1.7"),
	})
	if !slices.Equal(stale, []NodeRoute{route("10.244.2.0/24", "192.168.1.4")}) {
		t.Errorf("stale %v", stale)
	}
	if !slices.Equal(missing, []NodeRoute{route("10.244.3.0/24", "192.168.1.6"), route("10.244.4.0/24", "192.168.1.7")}) {
		t.Errorf("missing %v", missing)
	}
}
