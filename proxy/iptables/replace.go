package iptables

import (
	"github.com/kubelite/kubelite/proxy/backend"
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
func replace(kernel ruleset, services map[types.NamespacedName]serviceRules, options backend.Options) replacement {
	r := replacer{kernel: kernel, step: &transaction{}, replacement: replacement{state: newState(options)}}
	r.state.services = services
	for _, base := range baseChains(options) {
		r.write(base.chain, base.rules)
	}
	for _, name := range sortedNames(services) {
		for _, own := range services[name].own {
			r.write(own.chain, own.rules)
		}
		r.cut(linesPerTransaction)
	}
	for _, c := range sharedChains {
		r.writeShared(c)
	}
	for _, j := range jumps(options) {
		if !j.in(kernel[j.from]) {
			r.step.insert(j.from, j.rule)
		}
	}
	r.cut(0)
	r.cleanup = cleanup(kernel, r.state.written)
	return r.replacement
}

// replacer is a replacement being made.
type replacer struct {
	kernel ruleset
	step   *transaction // that is being filled
	replacement
}

// cut ends the step if it has more lines than limit.
func (r *replacer) cut(limit int) {
	if r.step.lines > limit {
		r.steps = append(r.steps, r.step)
		r.step = &transaction{}
	}
}

// write makes the chain hold the rules, unless it does.
func (r *replacer) write(c chain, rules []string) {
	if current, exists := r.kernel[c]; !exists || !slices.Equal(current, rules) {
		r.step.write(c, rules)
	}
	r.state.written[c] = rules
}

// writeShared makes a shared chain hold the rules of all Services. A long one is written in several steps.
func (r *replacer) writeShared(c chain) {
	desired := r.state.sharedRules(c, nil)
	current, exists := r.kernel[c]
	switch {
	case len(desired) <= r.state.rewriteLimit:
		r.write(c, desired)
	case len(current) == 0:
		if !exists {
			r.step.write(c, nil)
		}
		for _, rule := range desired {
			r.step.append(c, rule)
			r.cut(editsPerTransaction)
		}
		r.state.written[c] = desired
	default:
		r.editShared(c, current, desired)
	}
}

// editShared deletes and inserts what differs between a shared chain's current and its desired rules. Their order does not
// matter, but for the last one of the nat table's KUBE-SERVICES.
func (r *replacer) editShared(c chain, current, desired []string) {
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
		r.step.remove(c, rule)
		r.cut(editsPerTransaction)
	}
	for _, rule := range added {
		r.step.insert(c, rule)
		r.cut(editsPerTransaction)
	}
	result := edited(current, removed, added)
	if c == natServices && (len(result) == 0 || result[len(result)-1] != last) {
		r.step.append(c, last)
		result = append(result, last)
	}
	r.state.written[c] = result
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
