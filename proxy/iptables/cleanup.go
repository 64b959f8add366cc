package iptables

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Cleanup removes every chain and rule of this mode, of IPv4 and IPv6, of both variants of iptables, from the calling
// thread's network namespace. Rules of other programs stay. Where there is nothing, or no iptables, it does nothing. With the
// rule that guards 127.0.0.0/8 goes the sysctl that opened it.
func Cleanup(ctx context.Context) error {
	var failures []error
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		found, err := tools(family)
		failures = append(failures, err)
		for _, t := range found {
			failures = append(failures, t.cleanUp(ctx))
		}
	}
	return errors.Join(failures...)
}

// cleanUp removes the mode's rules that this variant of iptables sees, and sets the sysctl back that they guard.
func (t tool) cleanUp(ctx context.Context) error {
	kernel, err := t.save(ctx, builtinAndShared)
	if err == nil {
		err = closeLocalnet(kernel)
	}
	if err == nil {
		err = t.removeRules(ctx, kernel)
	}
	if err != nil {
		return fmt.Errorf("clean up rules: %w", err)
	}
	return nil
}

// removeRules removes the mode's rules among those that were found.
func (t tool) removeRules(ctx context.Context, kernel *snapshot) error {
	for _, step := range removal(kernel, boundsOf(t)) {
		if err := t.restore(ctx, step.String()); err != nil {
			return err
		}
	}
	return nil
}

// removal takes away first what leads to the mode's chains, then the chains.
func removal(kernel *snapshot, b bounds) []*transaction {
	var own []chain
	first := &transaction{}
	for _, c := range sortedChains(kernel.sums) {
		switch {
		case isServiceChain(c), isOwnChain(c) && !belongsToKubelet(c, kernel):
			own = append(own, c)
		default:
			for _, rule := range kernel.rules[c] {
				if led := (chain{c.table, target(rule)}); isOwnChain(led) && !belongsToKubelet(led, kernel) {
					first.remove(c, rule)
				}
			}
		}
	}
	steps := deleteChains(own, b)
	if !first.empty() {
		steps = append([]*transaction{first}, steps...)
	}
	return steps
}

// target is where a rule leads to: the word after -j or -g, which no comment's text is taken for; empty if there is none.
func target(rule string) string {
	words := strings.Fields(quoted.ReplaceAllString(rule, `""`))
	for i := 1; i < len(words); i++ {
		if words[i-1] == "-j" || words[i-1] == "-g" {
			return words[i]
		}
	}
	return ""
}

// quoted is a text in which iptables-save puts a backslash before quotes.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// isOwnChain says whether the chain is one of those that belong to the mode but to no single Service.
func isOwnChain(c chain) bool {
	return c.name == canaryName || slices.Contains(sharedChains, c) ||
		slices.Contains([]chain{filterForward, filterFirewall, natPostrouting, natMarkMasq}, c)
}

// belongsToKubelet says whether a kubelet made the chain, too: a real one keeps KUBE-FIREWALL for itself.
func belongsToKubelet(c chain, kernel *snapshot) bool {
	_, found := kernel.sums[chain{tableMangle, "KUBE-KUBELET-CANARY"}]
	return found && c == filterFirewall
}
