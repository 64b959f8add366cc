package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// fakeKernel applies the input of iptables-restore --noflush as iptables does: a table at a time, all of it or nothing. A
// rule may only lead to a chain that is there, and a chain can only be deleted when it is empty and nothing leads to it.
type fakeKernel struct {
	rules ruleset
	// committed, where it is set, is called after each table.
	committed func()
}

func newFakeKernel() *fakeKernel {
	k := &fakeKernel{rules: ruleset{}}
	for table, names := range map[string]string{tableFilter: "INPUT FORWARD OUTPUT", tableNAT: "PREROUTING INPUT OUTPUT POSTROUTING"} {
		for _, name := range strings.Fields(names) {
			k.rules[chain{table, name}] = nil
		}
	}
	return k
}

func (k *fakeKernel) clone() ruleset {
	clone := ruleset{}
	for c, rules := range k.rules {
		clone[c] = slices.Clone(rules)
	}
	return clone
}

func (k *fakeKernel) restore(text string) error {
	table, next := "", ruleset{}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		words := strings.SplitN(line, " ", 3)
		var c chain
		if len(words) > 1 {
			c = chain{table, words[1]}
		}
		rule := ""
		if len(words) > 2 {
			rule = words[2]
		}
		_, exists := next[c]
		if line[0] == '-' && !exists {
			return fmt.Errorf("%s: no such chain", line)
		}
		switch {
		case line[0] == '*':
			table, next = line[1:], k.clone()
		case line[0] == ':':
			next[chain{table, words[0][1:]}] = nil
		case words[0] == "-A":
			next[c] = append(next[c], rule)
		case words[0] == "-I":
			next[c] = append([]string{rule}, next[c]...)
		case words[0] == "-D":
			i := slices.Index(next[c], rule)
			if i < 0 {
				return fmt.Errorf("%s: no such rule", line)
			}
			next[c] = slices.Delete(next[c], i, i+1)
		case words[0] == "-X":
			if len(next[c]) > 0 {
				return fmt.Errorf("%s: not empty", line)
			}
			delete(next, c)
		case line == "COMMIT":
			if err := checkTargets(next); err != nil {
				return err
			}
			k.rules = next
			if k.committed != nil {
				k.committed()
			}
		default:
			return fmt.Errorf("unexpected %q", line)
		}
	}
	return nil
}

func checkTargets(rules ruleset) error {
	for c, all := range rules {
		for _, rule := range all {
			_, target, _ := strings.Cut(rule, "-j ")
			target, _, _ = strings.Cut(target, " ")
			if _, exists := rules[chain{c.table, target}]; strings.HasPrefix(target, "KUBE-") && !exists {
				return fmt.Errorf("%s leads to chain %s, which is not there", c, target)
			}
		}
	}
	return nil
}

// String is like iptables-save, with the chains sorted.
func (k *fakeKernel) String() string {
	var text strings.Builder
	table := ""
	for _, c := range sortedChains(k.rules) {
		if c.table != table {
			table = c.table
			fmt.Fprintf(&text, "*%s\n", table)
		}
		fmt.Fprintf(&text, ":%s - [0:0]\n", c.name)
		for _, rule := range k.rules[c] {
			fmt.Fprintf(&text, "-A %s %s\n", c.name, rule)
		}
	}
	return text.String()
}

// snapshot is what iptables-save would find.
func (k *fakeKernel) snapshot() *snapshot {
	found, err := parseSave(strings.NewReader(k.String()), builtinAndShared)
	if err != nil {
		panic(err)
	}
	return found
}
