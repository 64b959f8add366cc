package iptables

import (
	"strings"

	"github.com/kubelite/kubelite/proxy/backend"
)

// counts are numbers of rules in the mode's own chains, by table. As in kube-proxy's metrics, the jumps from netfilter's own chains
// are not among them.
type counts map[string]int

// RuleCounts counts the rules in the mode's own chains. They are counted as they are written: none is looked at here.
func (b *Backend) RuleCounts() map[string]backend.RuleCount {
	all := map[string]backend.RuleCount{}
	for _, table := range []string{tableFilter, tableNAT} {
		all[table] = backend.RuleCount{Total: b.state.rules[table], Last: b.last[table]}
	}
	return all
}

// add counts each rule of a Service so many times.
func (c counts) add(rules serviceRules, times int) {
	for _, own := range rules.own {
		c[own.table] += times * len(own.rules)
	}
	for shared, texts := range rules.shared {
		c[shared.table] += times * len(texts)
	}
}

// addWritten counts the rules that a transaction writes.
func (c counts) addWritten(step *transaction) {
	for _, input := range step.tables {
		for _, line := range input.rules {
			if strings.HasPrefix(line[len("-A "):], "KUBE-") {
				c[input.name]++
			}
		}
	}
}
