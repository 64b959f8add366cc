package iptables

import (
	"maps"
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
	"k8s.io/apimachinery/pkg/types"
)

// state is what the proxy wrote. The rules of single Services are not kept: they follow from their ports.
type state struct {
	layout   layout
	services plan.Plan
	// endpoints is endpointCount of all services.
	endpoints int
	// rules counts all rules of services, and those that are there without any.
	rules counts
	// shared is the rules in the chains that Services share, in the kernel's order, without layout.nodePorts.
	shared map[chain][]sharedRule
	// left are chains of former Services that could not be deleted.
	left   map[chain]bool
	bounds bounds
}

// sharedRule is a rule of one Service in a chain that all Services share.
type sharedRule struct {
	owner types.NamespacedName
	text  string
}

func newState(l layout, b bounds) state {
	return state{layout: l, bounds: b, services: plan.Plan{}, rules: counts{}, shared: map[chain][]sharedRule{}, left: map[chain]bool{}}
}

// update is a change of some Services that is not yet in the kernel.
type update struct {
	step   *transaction
	next   plan.Plan
	shared map[chain][]sharedRule // the chains that step changes, as they will be
	rules  counts                 // by how many they grow
}

// update computes the one transaction that gives the Services in next the rules of exactly those ports. The state is not
// changed.
func (s *state) update(next plan.Plan) update {
	u := update{step: &transaction{}, next: next, shared: map[chain][]sharedRule{}, rules: counts{}}
	before, after := map[chain][]sharedRule{}, map[chain][]sharedRule{}
	var stale []chain
	for _, name := range plan.SortedNames(next) {
		old, new := s.layout.rules(s.services[name]), s.layout.rules(next[name])
		stale = append(stale, u.step.change(old.own, new.own)...)
		old.appendShared(before, name)
		new.appendShared(after, name)
		u.rules.add(old, -1)
		u.rules.add(new, 1)
	}
	filterGrows := false
	for _, c := range sharedChains {
		removed, added := subtract(before[c], after[c]), subtract(after[c], before[c])
		if len(removed)+len(added) == 0 {
			continue
		}
		filterGrows = filterGrows || c.table == tableFilter && len(added) > 0
		if len(s.shared[c])+len(added)-len(removed) <= s.bounds.rewrite {
			u.shared[c] = s.sorted(c, next, after[c])
			u.step.write(c, s.texts(c, u.shared[c]))
			continue
		}
		u.step.edit(c, texts(removed), texts(added))
		u.shared[c] = slices.Concat(added, subtract(s.shared[c], removed))
	}
	for _, c := range stale {
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

// commit makes an update part of the state, after it has become part of the kernel.
func (s *state) commit(u update) {
	for name, ports := range u.next {
		s.endpoints += endpointCount(ports) - endpointCount(s.services[name])
		if len(ports) == 0 {
			delete(s.services, name)
		} else {
			s.services[name] = ports
		}
	}
	maps.Copy(s.shared, u.shared)
	for table, more := range u.rules {
		s.rules[table] += more
	}
}

// leave takes note that the chains that the step deletes are still there.
func (s *state) leave(step *transaction) {
	for _, input := range step.tables {
		for _, name := range slices.Concat(input.declared, input.stale) {
			s.left[chain{input.name, name}] = true
		}
	}
}

// large says whether there are more than largeClusterEndpoints endpoints when next has become part of the state.
func (s *state) large(next plan.Plan) bool {
	endpoints := s.endpoints
	for name, ports := range next {
		endpoints += endpointCount(ports) - endpointCount(s.services[name])
	}
	return endpoints > largeClusterEndpoints
}

// sorted is the shared chain sorted by Service, with the rules changed in place of those that the Services in next have now.
func (s *state) sorted(c chain, next plan.Plan, changed []sharedRule) []sharedRule {
	all := map[types.NamespacedName][]sharedRule{}
	for _, rule := range s.shared[c] {
		if _, ok := next[rule.owner]; !ok {
			all[rule.owner] = append(all[rule.owner], rule)
		}
	}
	if len(s.shared[c]) > s.bounds.rewrite { // it was edited until now, and one Service's rules may be in any order
		for name := range all {
			own := map[chain][]sharedRule{}
			s.layout.rules(s.services[name]).appendShared(own, name)
			all[name] = own[c]
		}
	}
	for _, rule := range changed {
		all[rule.owner] = append(all[rule.owner], rule)
	}
	var sorted []sharedRule
	for _, name := range plan.SortedNames(all) {
		sorted = append(sorted, all[name]...)
	}
	return sorted
}

// texts are all rules of a shared chain that holds those of Services.
func (s *state) texts(c chain, rules []sharedRule) []string {
	all := texts(rules)
	if c == natServices {
		all = append(all, s.layout.nodePorts...)
	}
	return all
}

func texts(rules []sharedRule) []string {
	all := make([]string, len(rules))
	for i, rule := range rules {
		all[i] = rule.text
	}
	return all
}

// appendShared appends the Service's shared rules to those in all.
func (r serviceRules) appendShared(all map[chain][]sharedRule, owner types.NamespacedName) {
	for c, rules := range r.shared {
		for _, text := range rules {
			all[c] = append(all[c], sharedRule{owner, text})
		}
	}
}

// subtract returns the rules without one of each in removed, in their order.
func subtract[R comparable](rules, removed []R) []R {
	if len(removed) == 0 {
		return rules
	}
	count := make(map[R]int, len(removed))
	for _, rule := range removed {
		count[rule]++
	}
	var left []R
	for _, rule := range rules {
		if count[rule] > 0 {
			count[rule]--
			continue
		}
		left = append(left, rule)
	}
	return left
}
