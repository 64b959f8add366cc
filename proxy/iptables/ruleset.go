package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// ruleset is the rules of each chain, in order and without their "-A CHAIN ". A chain without rules has an entry, too.
type ruleset map[chain][]string

// parseSave reads what iptables-save prints. Chains of other programs are in it like the proxy's own.
func parseSave(text string) (ruleset, error) {
	rules := ruleset{}
	table := ""
	for number, line := range strings.Split(text, "\n") {
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			table = line[1:]
		case line[0] == ':':
			name, _, _ := strings.Cut(line[1:], " ")
			rules[chain{table, name}] = nil
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			c := chain{table, name}
			rules[c] = append(rules[c], rule)
		default:
			return nil, fmt.Errorf("parse iptables-save: line %d: unexpected %q", number+1, line)
		}
	}
	return rules, nil
}

// expectation is what the proxy wrote and wants to find again.
type expectation struct {
	written ruleset
	jumps   []jump
	// countsOnly counts rules and does not compare them.
	countsOnly bool
}

// difference says in a few words where kernel is not what the proxy wrote; empty when it is. Written chains must be there
// and hold exactly their rules; further chains of Services are a difference, all other chains are not looked at.
func (e expectation) difference(kernel ruleset) string {
	for _, c := range sortedChains(e.written) {
		actual, exists := kernel[c]
		switch expected := e.written[c]; {
		case !exists:
			return c.String() + " is gone"
		case len(actual) != len(expected):
			return fmt.Sprintf("%s has %d rules instead of %d", c, len(actual), len(expected))
		case !e.countsOnly && !slices.Equal(actual, expected):
			for i := range expected {
				if actual[i] != expected[i] {
					return fmt.Sprintf("rule %d of %s is %q instead of %q", i+1, c, actual[i], expected[i])
				}
			}
		}
	}
	for _, j := range e.jumps {
		if !j.in(kernel[j.from]) {
			return fmt.Sprintf("%s has no rule %q", j.from, j.rule)
		}
	}
	for _, c := range sortedChains(kernel) {
		if _, ours := e.written[c]; !ours && isServiceChain(c) {
			return c.String() + " belongs to no Service"
		}
	}
	return ""
}

func sortedChains(rules ruleset) []chain {
	chains := make([]chain, 0, len(rules))
	for c := range rules {
		chains = append(chains, c)
	}
	slices.SortFunc(chains, func(a, b chain) int { return strings.Compare(a.table+" "+a.name, b.table+" "+b.name) })
	return chains
}
