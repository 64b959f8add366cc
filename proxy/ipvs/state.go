package ipvs

import (
	"maps"
	"net/netip"

	"github.com/kubelite/kubelite/proxy/plan"
	"k8s.io/apimachinery/pkg/types"
)

// state is what all Services want.
type state struct {
	services  map[types.NamespacedName]wants
	servers   claims[server, virtualServer]
	addresses claims[netip.Addr, bool]
	entries   claims[entry, bool]
}

func newState() state {
	return state{
		services:  map[types.NamespacedName]wants{},
		servers:   claims[server, virtualServer]{},
		addresses: claims[netip.Addr, bool]{},
		entries:   claims[entry, bool]{},
	}
}

// change is what an update of the state may have changed: the keys with what was wanted of them before.
type change struct {
	servers   map[server]virtualServer
	addresses map[netip.Addr]bool
	entries   map[entry]bool
	// all are the keys, also those that nobody wanted before.
	allServers   map[server]bool
	allAddresses map[netip.Addr]bool
	allEntries   map[entry]bool
}

// update makes the Services in p want what they should, and others what they did.
func (s *state) update(p plan.Plan, f facts) change {
	c := change{
		map[server]virtualServer{}, map[netip.Addr]bool{}, map[entry]bool{},
		map[server]bool{}, map[netip.Addr]bool{}, map[entry]bool{},
	}
	for name, ports := range p {
		former, next := s.services[name], wantsOf(ports, f)
		remember(s.servers, c.servers, c.allServers, former.servers, next.servers)
		remember(s.addresses, c.addresses, c.allAddresses, former.addresses, next.addresses)
		remember(s.entries, c.entries, c.allEntries, former.entries, next.entries)
		s.servers.replace(name, former.servers, next.servers)
		s.addresses.replace(name, former.addresses, next.addresses)
		s.entries.replace(name, former.entries, next.entries)
		if len(ports) == 0 {
			delete(s.services, name)
		} else {
			s.services[name] = next
		}
	}
	return c
}

// remember notes what is wanted of the keys of former and next, unless that was noted already.
func remember[K comparable, V any](c claims[K, V], before map[K]V, all map[K]bool, former, next map[K]V) {
	for _, values := range []map[K]V{former, next} {
		for key := range maps.Keys(values) {
			if all[key] {
				continue
			}
			all[key] = true
			if value, wanted := c.get(key); wanted {
				before[key] = value
			}
		}
	}
}
