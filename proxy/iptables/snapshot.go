package iptables

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
)

// ruleset is the rules of chains, in order and without their "-A CHAIN ". A chain without rules has an entry, too.
type ruleset map[chain][]string

// sum stands for the rules of a chain: chains with the same rules in the same order have the same sum. The text of 10,000
// Services' rules is 30 MB; their sums are 3.
type sum struct {
	rules int
	hash  uint64
}

var sumSeed = maphash.MakeSeed()

func (s sum) add(rule []byte) sum {
	return sum{s.rules + 1, (s.hash*31 + uint64(s.rules)) ^ maphash.Bytes(sumSeed, rule)}
}

func sumOf(rules []string) sum {
	var s sum
	for _, rule := range rules {
		s = s.add([]byte(rule))
	}
	return s
}

// snapshot is what iptables-save found in a kernel. Chains of other programs are in it like the proxy's own.
type snapshot struct {
	sums map[chain]sum
	// rules has the text of the chains that were wanted.
	rules ruleset
}

// parseSave reads what iptables-save prints, and keeps the text of the wanted chains.
func parseSave(text io.Reader, wanted func(chain) bool) (*snapshot, error) {
	parsed := &snapshot{sums: map[chain]sum{}, rules: ruleset{}}
	table, last := "", chain{}
	var lastSum sum
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case len(line) == 0 || line[0] == '#' || string(line) == "COMMIT":
		case line[0] == '*':
			table = string(line[1:])
		case line[0] == ':':
			name, _, _ := bytes.Cut(line[1:], []byte(" "))
			parsed.declare(chain{table, string(name)}, wanted)
		case bytes.HasPrefix(line, []byte("-A ")):
			name, rule, _ := bytes.Cut(line[len("-A "):], []byte(" "))
			if last.table != table || last.name != string(name) {
				last = chain{table, string(name)}
				lastSum = parsed.sums[last]
			}
			lastSum = lastSum.add(rule)
			parsed.sums[last] = lastSum
			if rules, kept := parsed.rules[last]; kept {
				parsed.rules[last] = append(rules, string(rule))
			}
		default:
			return nil, fmt.Errorf("parse iptables-save: unexpected %q", line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("parse iptables-save: %w", err)
	}
	return parsed, nil
}

func (s *snapshot) declare(c chain, wanted func(chain) bool) {
	s.sums[c] = sum{}
	if wanted(c) {
		s.rules[c] = nil
	}
}

// holds says whether the chain is there and has exactly these rules.
func (s *snapshot) holds(c chain, rules []string) bool {
	found, exists := s.sums[c]
	return exists && found == sumOf(rules)
}

// builtinAndShared are the chains whose rules have to be known to change them: all but those of single Services.
func builtinAndShared(c chain) bool { return !isServiceChain(c) }

func sortedChains[V any](chains map[chain]V) []chain {
	sorted := make([]chain, 0, len(chains))
	for c := range chains {
		sorted = append(sorted, c)
	}
	slices.SortFunc(sorted, func(a, b chain) int {
		if a.table != b.table {
			return strings.Compare(a.table, b.table)
		}
		return strings.Compare(a.name, b.name)
	})
	return sorted
}
