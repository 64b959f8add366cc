package iptables

import (
	"github.com/kubelite/kubelite/proxy/backend"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// state is what the proxy wrote: the rules of each Service, and all chains as they stand in the kernel.
type state struct {
	services map[types.NamespacedName]serviceRules
	written  ruleset
	// lastServicesRule ends the nat table's KUBE-SERVICES.
	lastServicesRule string
	// rewriteLimit is the constant of that name, but in tests.
	rewriteLimit int
}

func newState(options backend.Options) state {
	return state{
		services:         map[types.NamespacedName]serviceRules{},
		written:          ruleset{},
		lastServicesRule: nodePortsRule(options),
		rewriteLimit:     rewriteLimit,
	}
}

// update is a change of some Services that is not yet in the kernel.
type update struct {
	step    *transaction
	next    map[types.NamespacedName]serviceRules
	written ruleset // the chains that step changes, as they will be
	deleted []chain
}

// update computes the one transaction that gives the Services in next exactly those rules. The state is not changed.
func (s *state) update(next map[types.NamespacedName]serviceRules) update {
	u := update{step: &transaction{}, next: next, written: ruleset{}}
	names := sortedNames(next)
	for _, name := range names {
		s.updateOwnChains(&u, s.services[name], next[name])
	}
	filterGrows := false
	for _, c := range sharedChains {
		var removed, added []string
		for _, name := range names {
			removed = append(removed, subtract(s.services[name].shared[c], next[name].shared[c])...)
			added = append(added, subtract(next[name].shared[c], s.services[name].shared[c])...)
		}
		if len(removed)+len(added) == 0 {
			continue
		}
		filterGrows = filterGrows || c.table == tableFilter && len(added) > 0
		if len(s.written[c])+len(added)-len(removed) <= s.rewriteLimit {
			rules := s.sharedRules(c, next)
			u.step.write(c, rules)
			u.written[c] = rules
			continue
		}
		for _, rule := range removed {
			u.step.remove(c, rule)
		}
		for _, rule := range added {
			u.step.insert(c, rule)
		}
		u.written[c] = edited(s.written[c], removed, added)
	}
	for _, c := range u.deleted {
		u.step.delete(c)
	}
	// Each table changes at once, but one after the other. Refusing begins before the way is taken away, and ends after it
	// is there again, so that no connection goes unanswered to an address that nobody has.
	if filterGrows {
		u.step.first(tableFilter)
	} else {
		u.step.first(tableNAT)
	}
	return u
}

func (s *state) updateOwnChains(u *update, old, next serviceRules) {
	kept := make(map[chain]bool, len(next.own))
	for _, own := range next.own {
		kept[own.chain] = true
		if rules, exists := s.written[own.chain]; !exists || !slices.Equal(rules, own.rules) {
			u.step.write(own.chain, own.rules)
			u.written[own.chain] = own.rules
		}
	}
	for _, own := range old.own {
		if !kept[own.chain] {
			u.deleted = append(u.deleted, own.chain)
		}
	}
}

// commit makes an update part of the state, after it has become part of the kernel.
func (s *state) commit(u update) {
	for name, rules := range u.next {
		if len(rules.own) == 0 && len(rules.shared) == 0 {
			delete(s.services, name)
			continue
		}
		s.services[name] = rules
	}
	for c, rules := range u.written {
		s.written[c] = rules
	}
	for _, c := range u.deleted {
		delete(s.written, c)
	}
}

// sharedRules are all rules of a shared chain in their order: sorted by Service. Those in next take the place of theirs.
func (s *state) sharedRules(c chain, next map[types.NamespacedName]serviceRules) []string {
	contributors := map[types.NamespacedName][]string{}
	for name, rules := range s.services {
		if shared := rules.shared[c]; len(shared) > 0 {
			contributors[name] = shared
		}
	}
	for name, rules := range next {
		contributors[name] = rules.shared[c]
	}
	var all []string
	for _, name := range sortedNames(contributors) {
		all = append(all, contributors[name]...)
	}
	if c == natServices {
		all = append(all, s.lastServicesRule)
	}
	return all
}

// edited is what a chain holds after the removed rules are deleted and the added ones inserted, each at its head.
func edited(rules, removed, added []string) []string {
	result := slices.Clone(added)
	slices.Reverse(result)
	return append(result, subtract(rules, removed)...)
}

// subtract returns the rules without one of each in removed, in their order.
func subtract(rules, removed []string) []string {
	if len(removed) == 0 {
		return rules
	}
	count := make(map[string]int, len(removed))
	for _, rule := range removed {
		count[rule]++
	}
	var left []string
	for _, rule := range rules {
		if count[rule] > 0 {
			count[rule]--
			continue
		}
		left = append(left, rule)
	}
	return left
}
