package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fakeTable takes what a writer is given as the kernel does: all of it or nothing, elements only lead to chains that are there, an
// element is deleted only if it is there and added only if it is not, and a chain is deleted only when no element leads to it.
type fakeTable struct {
	elements map[key]value
	chains   map[chain]bool
	failures []string
	writes   int
}

func newFakeTable() *fakeTable {
	return &fakeTable{elements: map[key]value{}, chains: map[chain]bool{}}
}

func (t *fakeTable) clone() *fakeTable {
	return &fakeTable{elements: maps.Clone(t.elements), chains: maps.Clone(t.chains)}
}

func (t *fakeTable) fail(format string, arguments ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, arguments...))
}

func (t *fakeTable) addChain(c chain) {
	t.writes++
	if t.chains[c] {
		t.fail("chain %s is there", c.name())
	}
	t.chains[c] = true
}

func (t *fakeTable) deleteChain(c chain) {
	t.writes++
	if !t.chains[c] {
		t.fail("chain %s is not there", c.name())
	}
	for k, v := range t.elements {
		if v.chain == c {
			t.fail("an element of %s leads to chain %s, which is deleted", k.set.name(), c.name())
		}
	}
	delete(t.chains, c)
}

func (t *fakeTable) addElement(e element) {
	t.writes++
	if _, there := t.elements[e.key]; there {
		t.fail("element %s of %s is there", e.text(familyIPv4), e.set.name())
	}
	if e.chain.madeOnDemand() && !t.chains[e.chain] {
		t.fail("element %s of %s leads nowhere", e.text(familyIPv4), e.set.name())
	}
	t.elements[e.key] = e.value
}

func (t *fakeTable) deleteElement(e element) {
	t.writes++
	if _, there := t.elements[e.key]; !there {
		t.fail("element %s of %s is not there", e.text(familyIPv4), e.set.name())
	}
	delete(t.elements, e.key)
}

func (t *fakeTable) flushSet(s set) {
	t.writes++
	maps.DeleteFunc(t.elements, func(k key, _ value) bool { return k.set == s })
}

// each is how a state reads the table.
func (t *fakeTable) each(f func(element) error) error {
	for k, v := range t.elements {
		if err := f(element{k, v}); err != nil {
			return err
		}
	}
	return nil
}

// difference says where two tables are not the same.
func (t *fakeTable) difference(other *fakeTable, of family) string {
	var lines []string
	for k, v := range t.elements {
		if found, ok := other.elements[k]; !ok || found != v {
			lines = append(lines, "- "+k.set.name()+" "+element{k, v}.text(of))
		}
	}
	for k, v := range other.elements {
		if found, ok := t.elements[k]; !ok || found != v {
			lines = append(lines, "+ "+k.set.name()+" "+element{k, v}.text(of))
		}
	}
	if !maps.Equal(t.chains, other.chains) {
		lines = append(lines, fmt.Sprint("chains ", len(t.chains), " and ", len(other.chains)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
