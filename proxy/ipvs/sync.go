package ipvs

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/plan"
)

// replaceEntries adds the missing entries of all sets and returns those that nobody wants.
func (b *Backend) replaceEntries() (stale []entry, err error) {
	bySet := map[*set][]entry{}
	for e := range b.state.entries {
		bySet[e.set] = append(bySet[e.set], e)
	}
	for _, s := range allSets {
		present, err := b.kernel.entries(s)
		if err != nil {
			return nil, err
		}
		for _, e := range sortedEntries(slices.Values(bySet[s])) {
			if present[e] {
				delete(present, e)
				continue
			}
			if err := b.kernel.addEntry(e); err != nil {
				return nil, err
			}
		}
		stale = append(stale, sortedEntries(maps.Keys(present))...)
	}
	return stale, nil
}

// replaceRules writes the rules if they are not there as they were written.
func (b *Backend) replaceRules(ctx context.Context) error {
	// The generation is read before the rules: what is changed in between is looked at the next time.
	b.generation, b.unchanged = b.kernel.rulesGeneration()
	text, err := b.kernel.rules(ctx)
	if err != nil {
		return err
	}
	if text == ruleText(b.facts.options) {
		b.ruleText = text
		return nil
	}
	if err := b.kernel.writeRules(ctx); err != nil {
		return err
	}
	b.generation, b.unchanged = b.kernel.rulesGeneration()
	b.ruleText, err = b.kernel.rules(ctx)
	return err
}

// replaceServers makes all virtual servers as they are wanted and returns those that nobody wants.
func (b *Backend) replaceServers() (stale []server, err error) {
	present, err := b.kernel.servers()
	if err != nil {
		return nil, err
	}
	for _, s := range sortedServers(maps.Keys(b.state.servers)) {
		wanted, _ := b.state.servers.get(s)
		former, exists := present[s]
		switch {
		case !exists:
			err = b.addServer(s, wanted)
		case former != wanted.settings:
			err = b.kernel.changeServer(s, wanted.settings)
		}
		if err == nil && exists {
			err = b.syncDestinations(s, wanted)
		}
		if err != nil {
			return nil, err
		}
		delete(present, s)
	}
	return sortedServers(maps.Keys(present)), nil
}

func (b *Backend) replaceAddresses(held map[netip.Addr]bool) error {
	for _, address := range sortedAddresses(maps.Keys(b.state.addresses)) {
		if held[address] {
			continue
		}
		if err := b.kernel.addAddress(address); err != nil {
			return err
		}
	}
	for _, address := range sortedAddresses(maps.Keys(held)) {
		if _, wanted := b.state.addresses[address]; wanted {
			continue
		}
		if err := b.kernel.deleteAddress(address); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) addServer(s server, wanted virtualServer) error {
	if err := b.kernel.addServer(s, wanted.settings); err != nil {
		return err
	}
	for _, endpoint := range wanted.endpoints {
		if err := b.kernel.addDestination(s, endpoint.AddrPort); err != nil {
			return err
		}
	}
	return nil
}

// syncDestinations makes the destinations of a virtual server that is there the wanted ones. Any other gets weight 0, so
// that no new connection is sent there, and is deleted if it has no connections left or they are not worth keeping.
func (b *Backend) syncDestinations(s server, wanted virtualServer) error {
	present, err := b.kernel.destinations(s)
	if err != nil {
		return err
	}
	for _, endpoint := range wanted.endpoints {
		former, exists := present[endpoint.AddrPort]
		delete(present, endpoint.AddrPort)
		switch {
		case !exists:
			err = b.kernel.addDestination(s, endpoint.AddrPort)
		case former.weight != 1:
			err = b.kernel.setWeight(s, endpoint.AddrPort, 1)
		}
		if err != nil {
			return err
		}
	}
	delete(b.retiring, s)
	if len(present) == 0 {
		return nil
	}
	return b.retire(s, wanted, present)
}

// retire ends destinations that are not wanted any more. Connections are counted after the weight became 0: from then on
// there are no new ones.
func (b *Backend) retire(s server, wanted virtualServer, unwanted map[netip.AddrPort]destination) error {
	for _, address := range sortedDestinations(unwanted) {
		if unwanted[address].weight == 0 {
			continue
		}
		if err := b.kernel.setWeight(s, address, 0); err != nil {
			return err
		}
	}
	now, err := b.kernel.destinations(s)
	if err != nil {
		return err
	}
	for _, address := range sortedDestinations(unwanted) {
		// A TCP connection ends by itself. Others are kept only as long as the endpoint says that it still serves.
		keeps := s.protocol == corev1.ProtocolTCP || slices.Contains(wanted.draining, plan.Endpoint{AddrPort: address})
		if keeps && now[address].connections > 0 {
			b.retiring[s] = true
			continue
		}
		if err := b.kernel.deleteDestination(s, address); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) addEntries(c change) error {
	for _, e := range sortedEntries(maps.Keys(c.allEntries)) {
		if _, wanted := b.state.entries[e]; !wanted || c.entries[e] {
			continue
		}
		if err := b.kernel.addEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) deleteEntries(c change) error {
	for _, e := range sortedEntries(maps.Keys(c.entries)) {
		if _, wanted := b.state.entries[e]; wanted {
			continue
		}
		if err := b.kernel.deleteEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) updateServers(c change) error {
	for _, s := range sortedServers(maps.Keys(c.allServers)) {
		wanted, stays := b.state.servers.get(s)
		if !stays {
			continue
		}
		former, exists := c.servers[s]
		if !exists {
			if err := b.addServer(s, wanted); err != nil {
				return err
			}
			continue
		}
		if former.settings != wanted.settings {
			if err := b.kernel.changeServer(s, wanted.settings); err != nil {
				return err
			}
		}
		if !slices.Equal(former.endpoints, wanted.endpoints) || !slices.Equal(former.draining, wanted.draining) {
			if err := b.syncDestinations(s, wanted); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Backend) deleteServers(c change) error {
	for _, s := range sortedServers(maps.Keys(c.servers)) {
		if _, stays := b.state.servers[s]; stays {
			continue
		}
		delete(b.retiring, s)
		if err := b.kernel.deleteServer(s); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) updateAddresses(c change) error {
	for _, address := range sortedAddresses(maps.Keys(c.allAddresses)) {
		_, wanted := b.state.addresses[address]
		var err error
		switch had := c.addresses[address]; {
		case wanted && !had:
			err = b.kernel.addAddress(address)
		case had && !wanted:
			err = b.kernel.deleteAddress(address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func compareServers(a, b server) int {
	return cmp.Or(a.address.Compare(b.address), cmp.Compare(a.protocol, b.protocol))
}

// compareEntries sorts by the order of allSets first.
func compareEntries(a, b entry) int {
	return cmp.Or(
		cmp.Compare(slices.Index(allSets, a.set), slices.Index(allSets, b.set)),
		a.address.Compare(b.address), cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol),
		a.source.Addr().Compare(b.source.Addr()), cmp.Compare(a.source.Bits(), b.source.Bits()))
}
