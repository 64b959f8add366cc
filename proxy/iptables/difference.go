package iptables

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Difference says where the kernel's rules are not what was last programmed; empty when they are. Where nothing at all
// changed since it last looked but for what the backend changed itself, it costs a system call or two.
func (b *Backend) Difference(ctx context.Context) (string, error) {
	current, err := b.tool.generation()
	if err != nil {
		return "", err
	}
	if own, err := nodePortAddresses(b.state.layout.Options); err != nil {
		return "", err
	} else if !slices.Equal(b.state.layout.nodePortRules(own), b.state.layout.nodePorts) {
		b.seen = seen{}
		return "node ports are served at addresses that the node no longer has, or not at one that it got", nil
	}
	if b.seen.unchanged(b.tool, current) {
		return "", nil
	}
	started := time.Now()
	kernel, err := b.tool.save(ctx, builtinAndShared)
	if err != nil {
		return "", err
	}
	found := b.compare(kernel)
	// The generation was read before the rules: a change in between is looked at the next time.
	b.seen = seen{valid: found == "", generation: current, at: time.Now(), took: time.Since(started)}
	return found, nil
}

// compare is state.difference, and gives comparing rules up where it leads nowhere.
func (b *Backend) compare(kernel *snapshot) string {
	if b.countsOnly {
		return b.state.difference(kernel, sameCount)
	}
	found := b.state.difference(kernel, sameRules)
	if found != "" && found == b.found && b.state.difference(kernel, sameCount) == "" {
		slog.Warn("iptables-save prints rules in other words than they were written in; from now on they are only counted", "found", found)
		b.countsOnly, found = true, ""
	}
	b.found = found
	return found
}

func sameRules(a, b sum) bool { return a == b }
func sameCount(a, b sum) bool { return a.rules == b.rules }

// difference says in a few words where kernel is not what was written; empty when it is. Written chains must be there and
// hold exactly their rules; further chains of Services are a difference, but for those left; all other chains are not looked at.
func (s *state) difference(kernel *snapshot, same func(a, b sum) bool) string {
	shared, service := s.writtenShared(), s.writtenOfServices()
	for _, c := range sortedChains(shared) {
		expected := shared[c]
		actual, exists := kernel.sums[c]
		switch {
		case !exists:
			return c.String() + " is gone"
		case actual.rules != len(expected):
			return fmt.Sprintf("%s has %d rules instead of %d", c, actual.rules, len(expected))
		case !same(actual, sumOf(expected)):
			for i, rule := range kernel.rules[c] {
				if rule != expected[i] {
					return fmt.Sprintf("rule %d of %s is %q instead of %q", i+1, c, rule, expected[i])
				}
			}
		}
	}
	for _, j := range jumps {
		if !j.in(kernel.rules[j.from]) {
			return fmt.Sprintf("%s has no rule %q", j.from, j.rule)
		}
	}
	for c, expected := range service {
		actual, exists := kernel.sums[c]
		switch {
		case !exists:
			return c.String() + " is gone"
		case actual.rules != expected.rules:
			return fmt.Sprintf("%s has %d rules instead of %d", c, actual.rules, expected.rules)
		case !same(actual, expected):
			return c.String() + " has other rules than were written"
		}
	}
	for c := range kernel.sums {
		if _, ours := service[c]; !ours && isServiceChain(c) && !s.left[c] {
			return c.String() + " belongs to no Service"
		}
	}
	return ""
}

// writtenShared are the chains that belong to no single Service.
func (s *state) writtenShared() ruleset {
	written := ruleset{}
	for _, base := range s.layout.baseChains() {
		written[base.chain] = base.rules
	}
	for _, c := range sharedChains {
		written[c] = s.texts(c, s.shared[c])
	}
	return written
}

// writtenOfServices are the chains that belong to single Services.
func (s *state) writtenOfServices() map[chain]sum {
	written := map[chain]sum{}
	for _, ports := range s.services {
		for _, own := range s.layout.rules(ports).own {
			written[own.chain] = sumOf(own.rules)
		}
	}
	return written
}
