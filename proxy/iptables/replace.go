package iptables

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// replacement is the way from whatever rules are there to those of a whole plan.
type replacement struct {
	// steps are in order: base chains, then the chains of Services, then the chains that lead to them.
	steps []*transaction
	// cleanup deletes chains that nothing leads to any more.
	cleanup []*transaction
	// state is what is written when all is done.
	state state
}

// replace computes a replacement of what kernel holds. Small ones are one transaction; large ones are cut where a phase
// or a number of Services ends, and no cut lets a rule refer to a chain that is not there yet.
func replace(kernel ruleset, services map[types.NamespacedName]serviceRules, options Options) replacement {
	r := replacement{state: newState(options)}
	r.state.services = services
	step := &transaction{}
	cut := func(limit int) {
		if step.lines > limit {
			r.steps = append(r.steps, step)
			step = &transaction{}
		}
	}
	write := func(c chain, rules []string) {
		if current, exists := kernel[c]; !exists || !slices.Equal(current, rules) {
			step.write(c, rules)
		}
		r.state.written[c] = rules
	}

	for _, base := range baseChains(options) {
		write(base.chain, base.rules)
	}
	for _, name := range sortedNames(services) {
		for _, own := range services[name].own {
			write(own.chain, own.rules)
		}
		cut(linesPerTransaction)
	}
	for _, c := range sharedChains {
		desired := r.state.sharedRules(c, nil)
		current, exists := kernel[c]
		switch {
		case len(desired) <= r.state.rewriteLimit:
			write(c, desired)
		case len(current) == 0:
			if !exists {
				step.write(c, nil)
			}
			for _, rule := range desired {
				step.append(c, rule)
				cut(editsPerTransaction)
			}
			r.state.written[c] = desired
		default:
			removed, added := subtract(current, desired), subtract(desired, current)
			last := r.state.lastServicesRule
			if misplaced := c == natServices && current[len(current)-1] != last; misplaced {
				// Every one is taken out, and one is put back at the end.
				isLast := func(rule string) bool { return rule == last }
				others, copies := partition(current, isLast)
				wanted, _ := partition(desired, isLast)
				removed, added = append(subtract(others, wanted), copies...), subtract(wanted, others)
			}
			for _, rule := range removed {
				step.remove(c, rule)
				cut(editsPerTransaction)
			}
			for _, rule := range added {
				step.insert(c, rule)
				cut(editsPerTransaction)
			}
			result := edited(current, removed, added)
			if c == natServices && (len(result) == 0 || result[len(result)-1] != last) {
				step.append(c, last)
				result = append(result, last)
			}
			r.state.written[c] = result
		}
	}
	for _, j := range jumps(options) {
		if !j.in(kernel[j.from]) {
			step.insert(j.from, j.rule)
		}
	}
	cut(0)
	r.cleanup = cleanup(kernel, r.state.written)
	return r
}

// linesPerTransaction is about what servicesPerTransaction Services of five endpoints each have.
const linesPerTransaction = servicesPerTransaction * 25

func partition(rules []string, chosen func(string) bool) (others, matching []string) {
	for _, rule := range rules {
		if chosen(rule) {
			matching = append(matching, rule)
		} else {
			others = append(others, rule)
		}
	}
	return others, matching
}

// cleanup deletes the chains of Services that are in the kernel but not written. All are emptied before one is deleted,
// since they may refer to each other; where that takes several transactions, emptying comes first.
func cleanup(kernel, written ruleset) []*transaction {
	var stale []chain
	for _, c := range sortedChains(kernel) {
		if _, wanted := written[c]; !wanted && isServiceChain(c) {
			stale = append(stale, c)
		}
	}
	var steps []*transaction
	if len(stale) > editsPerTransaction {
		for batch := range slices.Chunk(stale, editsPerTransaction) {
			step := &transaction{}
			for _, c := range batch {
				step.write(c, nil)
			}
			steps = append(steps, step)
		}
	}
	for batch := range slices.Chunk(stale, editsPerTransaction) {
		step := &transaction{}
		for _, c := range batch {
			step.delete(c)
		}
		steps = append(steps, step)
	}
	return steps
}
