package iptables

import (
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
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
// or a number of Services ends, and no cut lets a rule refer to a chain that is not there yet, or takes a rule away from a
// Service that keeps it.
func replace(kernel *snapshot, services plan.Plan, l layout, b bounds) replacement {
	r := replacer{kernel: kernel, step: &transaction{}, written: map[chain]bool{}, replacement: replacement{state: newState(l, b)}}
	for name, ports := range services {
		if len(ports) > 0 {
			r.state.services[name] = ports
			r.state.endpoints += endpointCount(ports)
		}
	}
	r.state.layout.withoutEndpointComments = r.state.endpoints > largeClusterEndpoints
	for _, base := range l.baseChains() {
		r.write(base.chain, base.rules)
		r.state.rules[base.table] += len(base.rules)
	}
	for _, name := range plan.SortedNames(r.state.services) {
		rules := r.state.layout.rules(services[name])
		rules.appendShared(r.state.shared, name)
		r.state.rules.add(rules, 1)
		for _, own := range rules.own {
			r.write(own.chain, own.rules)
		}
		r.cut(b.lines())
	}
	r.state.rules[tableNAT] += len(l.nodePorts)
	for _, c := range sharedChains {
		r.writeShared(c)
	}
	for _, j := range jumps {
		if !j.in(kernel.rules[j.from]) {
			r.step.insert(j.from, j.rule)
		}
	}
	r.cut(0)
	r.cleanup = r.deleteStale()
	return r.replacement
}

// replacer is a replacement being made.
type replacer struct {
	kernel  *snapshot
	step    *transaction // that is being filled
	written map[chain]bool
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
	if !r.kernel.holds(c, rules) {
		r.step.write(c, rules)
	}
	r.written[c] = true
}

// writeShared makes a shared chain hold the rules of all Services. A long one is written in several steps.
func (r *replacer) writeShared(c chain) {
	desired := r.state.texts(c, r.state.shared[c])
	current, exists := r.kernel.rules[c]
	switch {
	case len(r.state.shared[c]) <= r.state.bounds.rewrite:
		r.write(c, desired)
	case len(current) == 0:
		if !exists {
			r.step.write(c, nil)
		}
		for _, rule := range desired {
			r.step.append(c, rule)
			r.cut(r.state.bounds.edits)
		}
	default:
		r.editShared(c, current)
	}
	r.written[c] = true
}

// editShared deletes and inserts what differs between a shared chain's current and its desired rules. Their order does not
// matter, but for the last ones of the nat table's KUBE-SERVICES.
func (r *replacer) editShared(c chain, current []string) {
	var last []string
	if c == natServices {
		last = r.state.layout.nodePorts
	}
	if end := len(current) - len(last); end < 0 || !slices.Equal(current[end:], last) {
		// They are put at the end again before what is in the wrong place is taken out, so that they are never missing.
		for _, rule := range last {
			r.step.append(c, rule)
		}
	} else {
		current = current[:end]
	}
	wanted := r.state.shared[c]
	removed, added := subtract(current, texts(wanted)), subtract(texts(wanted), current)
	for _, rule := range slices.Backward(added) {
		r.step.insert(c, rule)
		r.cut(r.state.bounds.edits)
	}
	for _, rule := range removed {
		r.step.remove(c, rule)
		r.cut(r.state.bounds.edits)
	}
	byText := make(map[string]sharedRule, len(wanted))
	for _, rule := range wanted {
		byText[rule.text] = rule
	}
	r.state.shared[c] = nil
	for _, text := range slices.Concat(added, subtract(current, removed)) {
		r.state.shared[c] = append(r.state.shared[c], byText[text])
	}
}

// deleteStale deletes the chains of Services that are in the kernel but not written.
func (r *replacer) deleteStale() []*transaction {
	var stale []chain
	for _, c := range sortedChains(r.kernel.sums) {
		if isServiceChain(c) && !r.written[c] {
			stale = append(stale, c)
		}
	}
	return deleteChains(stale, r.state.bounds)
}

// deleteChains deletes chains that only they themselves refer to. All are emptied before one is deleted; where that takes
// several transactions, emptying comes first.
func deleteChains(stale []chain, b bounds) []*transaction {
	var steps []*transaction
	if len(stale) > b.edits {
		for batch := range slices.Chunk(stale, b.edits) {
			step := &transaction{}
			for _, c := range batch {
				step.write(c, nil)
			}
			steps = append(steps, step)
		}
	}
	for batch := range slices.Chunk(stale, b.edits) {
		step := &transaction{}
		for _, c := range batch {
			step.delete(c)
		}
		steps = append(steps, step)
	}
	return steps
}
