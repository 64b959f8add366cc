package nftables

import (
	"bytes"
	"slices"
	"strings"

	"github.com/kubelite/kubelite/proxy/plan"
	"k8s.io/apimachinery/pkg/types"
)

// writer takes what is to be changed in a table: chains are added before the elements that lead to them, and deleted after.
type writer interface {
	addChain(chain)
	deleteElement(element)
	addElement(element)
	deleteChain(chain)
}

// state is what the table should hold, as an index to the plan: elements are made anew whenever they are asked for, since
// keeping hundreds of thousands of them would take more memory than all else.
type state struct {
	layout
	services map[types.NamespacedName]*service
	// owners has the one Service that serves a destination. contested has all that claim it, where there are several, sorted by name;
	// the first is the owner. So it does not matter who came first.
	owners    map[destination]*service
	contested map[destination][]*service
	// uses counts the elements that lead to a chain.
	uses map[chain]int
}

type service struct {
	name  types.NamespacedName
	ports []plan.Port
}

func newState(l layout, services int) *state {
	return &state{
		layout:    l,
		services:  make(map[types.NamespacedName]*service, services),
		owners:    make(map[destination]*service, 2*services),
		contested: map[destination][]*service{},
		uses:      map[chain]int{},
	}
}

// fill takes a whole plan into an empty state, without writing anything.
func (s *state) fill(p plan.Plan) {
	for name, ports := range p {
		s.add(name, ports)
	}
}

func (s *state) add(name types.NamespacedName, ports []plan.Port) {
	if len(ports) == 0 {
		return
	}
	added := &service{name, ports}
	s.services[name] = added
	s.destinationsOf(ports, func(d destination) { s.claim(d, added) })
}

func (s *state) remove(name types.NamespacedName) {
	removed := s.services[name]
	if removed == nil {
		return
	}
	s.destinationsOf(removed.ports, func(d destination) { s.release(d, removed) })
	delete(s.services, name)
}

func (s *state) claim(d destination, by *service) {
	owner := s.owners[d]
	if owner == nil || owner == by && s.contested[d] == nil {
		s.owners[d] = by
		return
	}
	all := s.contested[d]
	if all == nil {
		all = []*service{owner}
	}
	place, there := slices.BinarySearchFunc(all, by.name, compareService)
	if there {
		return
	}
	all = slices.Insert(all, place, by)
	s.contested[d], s.owners[d] = all, all[0]
}

func (s *state) release(d destination, by *service) {
	all := s.contested[d]
	if all == nil {
		if s.owners[d] == by {
			delete(s.owners, d)
		}
		return
	}
	place, there := slices.BinarySearchFunc(all, by.name, compareService)
	if !there {
		return // it named the destination several times
	}
	all = slices.Delete(all, place, place+1)
	s.contested[d], s.owners[d] = all, all[0]
	if len(all) == 1 {
		delete(s.contested, d)
	}
}

func compareService(a *service, name types.NamespacedName) int {
	return plan.CompareNames(a.name, name)
}

// each calls f for every element that the table should hold.
func (s *state) each(f func(element)) {
	var elements []element
	for _, one := range s.services {
		// A Service may name a destination several times; what it has is made at its first.
		seen := make([]destination, 0, 8)
		s.destinationsOf(one.ports, func(d destination) {
			if s.owners[d] != one || slices.Contains(seen, d) {
				return
			}
			seen = append(seen, d)
			elements = s.appendElements(elements[:0], d, one.ports)
			for i := range elements {
				f(elements[i])
			}
		})
	}
}

// write writes everything, into a table that holds nothing yet.
func (s *state) write(w writer) {
	clear(s.uses)
	s.each(func(e element) {
		if e.chain.madeOnDemand() {
			if s.uses[e.chain] == 0 {
				w.addChain(e.chain)
			}
			s.uses[e.chain]++
		}
		w.addElement(e)
	})
}

// adopt writes what makes a table with the constant part in place, and with certain chains and elements, hold everything. Elements may name
// one twice: the kernel does while it enlarges a set.
func (s *state) adopt(chains map[chain]bool, elements func(func(element) error) error, w writer) error {
	type expectation struct {
		value
		met bool
	}
	wanted := make(map[key]expectation, 8*len(s.services))
	clear(s.uses)
	s.each(func(e element) {
		wanted[e.key] = expectation{value: e.value}
		if e.chain.madeOnDemand() {
			s.uses[e.chain]++
		}
	})
	var removed, added []element
	err := elements(func(e element) error {
		if found, ok := wanted[e.key]; ok && found.value == e.value {
			wanted[e.key] = expectation{e.value, true}
		} else {
			removed = append(removed, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for k, v := range wanted {
		if !v.met {
			added = append(added, element{k, v.value})
		}
	}
	writeChange(chains, s.uses, w, func() { writeElements(removed, added, w) })
	return nil
}

// refill writes everything anew into a table with the constant part in place and certain chains: all elements go and come, in one
// transaction. The kernel reads out a set in time that grows with the square of its size, so that this is faster from some size on.
func (s *state) refill(chains map[chain]bool, w refiller) {
	clear(s.uses)
	s.each(func(e element) {
		if e.chain.madeOnDemand() {
			s.uses[e.chain]++
		}
	})
	for filled := range setCount {
		if filled != affinity {
			w.flushSet(filled)
		}
	}
	writeChange(chains, s.uses, w, func() { s.each(w.addElement) })
}

type refiller interface {
	writer
	flushSet(set)
}

// counts are how many elements the table should hold in each set.
func (s *state) counts() (counts [setCount]int) {
	s.each(func(e element) { counts[e.set]++ })
	return counts
}

func total(counts [setCount]int) int {
	sum := 0
	for _, count := range counts {
		sum += count
	}
	return sum
}

// update makes the Services in changed be as they are there, and writes what that changes. It says whether clients may be remembered
// now that are to be forgotten.
func (s *state) update(changed plan.Plan, w writer) (outdated bool) {
	affected := map[destination]bool{}
	note := func(d destination) { affected[d] = true }
	for name, ports := range changed {
		if old := s.services[name]; old != nil {
			s.destinationsOf(old.ports, note)
		}
		s.destinationsOf(ports, note)
	}
	before := s.elementsAt(affected)
	chains := make(map[chain]bool, len(s.uses))
	for c := range s.uses {
		chains[c] = true
	}
	for name, ports := range changed {
		s.remove(name)
		s.add(name, ports)
	}
	after := s.elementsAt(affected)
	outdated = s.outdates(before, after)
	var removed, added []element
	for k, v := range after {
		old, there := before[k]
		if there && old == v {
			delete(before, k)
			continue
		}
		added = append(added, element{k, v})
		s.use(v.chain, 1)
	}
	for k, v := range before {
		removed = append(removed, element{k, v})
		s.use(v.chain, -1)
	}
	writeChange(chains, s.uses, w, func() { writeElements(removed, added, w) })
	return outdated
}

func (s *state) elementsAt(destinations map[destination]bool) map[key]value {
	all := make(map[key]value, 8*len(destinations))
	var elements []element
	for d := range destinations {
		if owner := s.owners[d]; owner != nil {
			elements = s.appendElements(elements[:0], d, owner.ports)
			for _, e := range elements {
				all[e.key] = e.value
			}
		}
	}
	return all
}

func (s *state) use(c chain, by int) {
	if !c.madeOnDemand() {
		return
	}
	s.uses[c] += by
	if s.uses[c] == 0 {
		delete(s.uses, c)
	}
}

// writeElements writes elements that go and elements that come. One whose data changes goes and comes; nobody sees it missing, since all
// is one transaction.
func writeElements(removed, added []element, w writer) {
	slices.SortFunc(removed, compareElements)
	slices.SortFunc(added, compareElements)
	for _, e := range removed {
		w.deleteElement(e)
	}
	for _, e := range added {
		w.addElement(e)
	}
}

// writeChange writes chains that come, elements, and chains that go.
func writeChange(chains map[chain]bool, uses map[chain]int, w writer, elements func()) {
	var missing, unused []chain
	for c := range uses {
		if !chains[c] {
			missing = append(missing, c)
		}
	}
	for c := range chains {
		if uses[c] == 0 {
			unused = append(unused, c)
		}
	}
	slices.SortFunc(missing, compareChains)
	slices.SortFunc(unused, compareChains)
	for _, c := range missing {
		w.addChain(c)
	}
	elements()
	for _, c := range unused {
		w.deleteChain(c)
	}
}

func compareChains(a, b chain) int { return strings.Compare(a.name(), b.name()) }

func compareElements(a, b element) int {
	if a.set != b.set {
		return int(a.set) - int(b.set)
	}
	return bytes.Compare(a.bytes[:], b.bytes[:])
}
