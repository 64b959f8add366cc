package ipvs

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

const (
	// serversPerLook and entriesPerLook bound what one Difference reads: the destinations of so many virtual servers, and sets
	// until so many entries were seen. What is left is looked at the next time.
	serversPerLook = 64
	entriesPerLook = 2000
)

// Difference says where the kernel is not as it was programmed: it looks at all virtual servers and addresses, at some of
// the destinations and sets, and at the rules if there may be new ones. An address that the node gained or lost is a
// difference, too: node ports are served at it. Besides, it deletes the destinations whose last connection ended.
func (b *Backend) Difference(ctx context.Context) (string, error) {
	for _, s := range sortedServers(maps.Keys(b.retiring)) {
		wanted, _ := b.state.servers.get(s)
		if err := b.syncDestinations(s, wanted); err != nil {
			return err.Error(), nil // the virtual server is not as it was
		}
	}
	for _, look := range []func() (string, error){b.lookAtAddresses, b.lookAtServers, b.lookAtSets} {
		if found, err := look(); found != "" || err != nil {
			return found, err
		}
	}
	return b.lookAtRules(ctx)
}

func (b *Backend) lookAtAddresses() (string, error) {
	held, node, err := b.kernel.addresses()
	if err != nil {
		return err.Error(), nil // somebody deleted the link
	}
	if !slices.Equal(node.addresses, b.facts.node.addresses) {
		return fmt.Sprintf("the node's addresses are %v instead of %v", node.addresses, b.facts.node.addresses), nil
	}
	if !slices.Equal(node.gateways, b.facts.node.gateways) {
		return fmt.Sprintf("the node's gateways are %v instead of %v", node.gateways, b.facts.node.gateways), nil
	}
	for address := range b.state.addresses {
		if !held[address] {
			return fmt.Sprintf("link %s has no address %s", linkName, address), nil
		}
	}
	for address := range held {
		if _, wanted := b.state.addresses[address]; !wanted {
			return fmt.Sprintf("address %s on link %s belongs to no Service", address, linkName), nil
		}
	}
	return "", nil
}

func (b *Backend) lookAtServers() (string, error) {
	present, err := b.kernel.servers()
	if err != nil {
		return "", err
	}
	for s := range b.state.servers {
		wanted, _ := b.state.servers.get(s)
		switch actual, exists := present[s]; {
		case !exists:
			return fmt.Sprintf("virtual server %s is gone", s), nil
		case actual != wanted.settings:
			return fmt.Sprintf("virtual server %s has scheduler %s and persistence %d s instead of %s and %d s", s,
				actual.scheduler, actual.persistent, wanted.scheduler, wanted.persistent), nil
		}
	}
	if len(present) == len(b.state.servers) {
		return b.lookAtDestinations(sortedServers(maps.Keys(b.state.servers)))
	}
	for _, s := range sortedServers(maps.Keys(present)) {
		if _, wanted := b.state.servers[s]; !wanted {
			return fmt.Sprintf("virtual server %s belongs to no Service", s), nil
		}
	}
	return "", nil
}

// lookAtDestinations looks at a few of the virtual servers.
func (b *Backend) lookAtDestinations(all []server) (string, error) {
	for range min(serversPerLook, len(all)) {
		b.nextServer = (b.nextServer + 1) % len(all)
		s := all[b.nextServer]
		wanted, _ := b.state.servers.get(s)
		present, err := b.kernel.destinations(s)
		if err != nil {
			return "", err
		}
		if found := destinationDifference(wanted, present); found != "" {
			return fmt.Sprintf("virtual server %s %s", s, found), nil
		}
	}
	return "", nil
}

// destinationDifference passes over destinations of weight 0: those are retiring.
func destinationDifference(wanted virtualServer, present map[netip.AddrPort]destination) string {
	for _, endpoint := range wanted.endpoints {
		actual, exists := present[endpoint.AddrPort]
		if !exists {
			return fmt.Sprintf("has no destination %s", endpoint)
		}
		if actual.weight != 1 {
			return fmt.Sprintf("gives destination %s the weight %d", endpoint, actual.weight)
		}
		delete(present, endpoint.AddrPort)
	}
	for _, address := range sortedDestinations(present) {
		if present[address].weight != 0 {
			return fmt.Sprintf("has a destination %s that is no endpoint", address)
		}
	}
	return ""
}

func (b *Backend) lookAtSets() (string, error) {
	seen := 0
	for range allSets {
		s := allSets[b.nextSet]
		b.nextSet = (b.nextSet + 1) % len(allSets)
		present, err := b.kernel.entries(s)
		if err != nil {
			return err.Error(), nil // somebody deleted the set
		}
		if found := b.setDifference(s, present); found != "" {
			return found, nil
		}
		if seen += len(present); seen >= entriesPerLook {
			break
		}
	}
	return "", nil
}

func (b *Backend) setDifference(s *set, present map[entry]bool) string {
	wanted := 0
	for e := range b.state.entries {
		if e.set != s {
			continue
		}
		if wanted++; !present[e] {
			return fmt.Sprintf("entry %s is gone", e)
		}
	}
	if len(present) == wanted {
		return ""
	}
	for _, e := range sortedEntries(maps.Keys(present)) {
		if _, ours := b.state.entries[e]; !ours {
			return fmt.Sprintf("entry %s belongs to no Service", e)
		}
	}
	return ""
}

func (b *Backend) lookAtRules(ctx context.Context) (string, error) {
	current, known := b.kernel.rulesGeneration()
	if known && b.unchanged && current == b.generation {
		return "", nil
	}
	text, err := b.kernel.rules(ctx)
	if err != nil {
		return "", err
	}
	if text != b.ruleText {
		return "iptables rules are " + firstDifference(b.ruleText, text), nil
	}
	b.generation, b.unchanged = current, known
	return "", nil
}
