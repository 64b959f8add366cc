package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/kubelite/kubelite/proxy/backend"
)

// fakeKernel is a kernel in memory: it refuses what the real one refuses, and counts what is written.
type fakeKernel struct {
	options  backend.Options
	node     node
	link     bool
	held     map[netip.Addr]bool
	served   map[server]settings
	backends map[server]map[netip.AddrPort]destination
	sets     map[*set]map[entry]bool
	text     string
	writes   []string
	// failAfter is how many writes succeed before all fail; negative for no end.
	failAfter int
}

func newFake(options backend.Options) *fakeKernel {
	return &fakeKernel{
		options:   options,
		node:      node{addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2")}, gateways: []netip.Addr{netip.MustParseAddr("192.168.1.1")}},
		held:      map[netip.Addr]bool{},
		served:    map[server]settings{},
		backends:  map[server]map[netip.AddrPort]destination{},
		sets:      map[*set]map[entry]bool{},
		failAfter: -1,
	}
}

var (
	errExists  = errors.New("exists")
	errMissing = errors.New("does not exist")
	errInvalid = errors.New("invalid argument")
	errKilled  = errors.New("killed")
)

// write notes a change, unless it is refused.
func (f *fakeKernel) write(refused bool, reason error, format string, arguments ...any) error {
	text := fmt.Sprintf(format, arguments...)
	if refused {
		return fmt.Errorf("%s: %w", text, reason)
	}
	if f.failAfter == 0 {
		return errKilled
	}
	f.failAfter--
	f.writes = append(f.writes, text)
	return nil
}

func (f *fakeKernel) servers() (map[server]settings, error) { return maps.Clone(f.served), nil }

func (f *fakeKernel) destinations(s server) (map[netip.AddrPort]destination, error) {
	if _, exists := f.served[s]; !exists {
		return nil, fmt.Errorf("destinations of %s: %w", s, errMissing)
	}
	return maps.Clone(f.backends[s]), nil
}

func (f *fakeKernel) addServer(s server, with settings) error {
	_, exists := f.served[s]
	err := f.write(exists, errExists, "add server %s", s)
	if err == nil {
		f.served[s], f.backends[s] = with, map[netip.AddrPort]destination{}
	}
	return err
}

func (f *fakeKernel) changeServer(s server, with settings) error {
	_, exists := f.served[s]
	err := f.write(!exists, errMissing, "change server %s", s)
	if err == nil {
		f.served[s] = with
	}
	return err
}

func (f *fakeKernel) deleteServer(s server) error {
	_, exists := f.served[s]
	err := f.write(!exists, errMissing, "delete server %s", s)
	if err == nil {
		delete(f.served, s)
		delete(f.backends, s)
	}
	return err
}

func (f *fakeKernel) addDestination(s server, to netip.AddrPort) error {
	if to.Addr().IsMulticast() || slices.Contains(f.node.broadcasts, to.Addr()) {
		return fmt.Errorf("add destination %s to %s: %w", to, s, errInvalid)
	}
	_, exists := f.backends[s][to]
	err := f.write(exists, errExists, "add destination %s to %s", to, s)
	if err == nil {
		f.backends[s][to] = destination{weight: 1}
	}
	return err
}

func (f *fakeKernel) setWeight(s server, to netip.AddrPort, weight int) error {
	former, exists := f.backends[s][to]
	err := f.write(!exists, errMissing, "weight %d for %s of %s", weight, to, s)
	if err == nil {
		f.backends[s][to] = destination{weight, former.connections}
	}
	return err
}

func (f *fakeKernel) deleteDestination(s server, to netip.AddrPort) error {
	_, exists := f.backends[s][to]
	err := f.write(!exists, errMissing, "delete destination %s of %s", to, s)
	if err == nil {
		delete(f.backends[s], to)
	}
	return err
}

func (f *fakeKernel) makeLink() error { f.link = true; return nil }

func (f *fakeKernel) addresses() (map[netip.Addr]bool, node, error) {
	return maps.Clone(f.held), f.node, nil
}

func (f *fakeKernel) broadcasts() ([]netip.Addr, error) { return f.node.broadcasts, nil }

func (f *fakeKernel) addAddress(address netip.Addr) error {
	if address.Is6() && address.IsMulticast() {
		return fmt.Errorf("add address %s: %w", address, errInvalid)
	}
	err := f.write(f.held[address] || !f.link, errExists, "add address %s", address)
	if err == nil {
		f.held[address] = true
	}
	return err
}

func (f *fakeKernel) deleteAddress(address netip.Addr) error {
	err := f.write(!f.held[address], errMissing, "delete address %s", address)
	if err == nil {
		delete(f.held, address)
	}
	return err
}

func (f *fakeKernel) makeSets() error {
	for _, s := range allSets {
		if f.sets[s] == nil {
			f.sets[s] = map[entry]bool{}
		}
	}
	return nil
}

func (f *fakeKernel) entries(s *set) (map[entry]bool, error) {
	if f.sets[s] == nil {
		return nil, fmt.Errorf("set %s: %w", s.name, errMissing)
	}
	return maps.Clone(f.sets[s]), nil
}

func (f *fakeKernel) addEntry(e entry) error {
	err := f.write(f.sets[e.set] == nil || f.sets[e.set][e], errExists, "add entry %s", e)
	if err == nil {
		f.sets[e.set][e] = true
	}
	return err
}

func (f *fakeKernel) deleteEntry(e entry) error {
	err := f.write(!f.sets[e.set][e], errMissing, "delete entry %s", e)
	if err == nil {
		delete(f.sets[e.set], e)
	}
	return err
}

func (f *fakeKernel) rules(context.Context) (string, error) { return f.text, nil }

func (f *fakeKernel) writeRules(context.Context) error {
	err := f.write(false, nil, "write rules")
	if err == nil {
		f.text = ruleText(f.options)
	}
	return err
}

func (f *fakeKernel) rulesGeneration() (uint32, bool) { return 0, false }

// dump is everything, as `ipvsadm -ln`, `ip addr` and `ipset list` would say it.
func (f *fakeKernel) dump() string {
	var lines []string
	for s, with := range f.served {
		lines = append(lines, fmt.Sprintf("%s %s persistent %d", s, with.scheduler, with.persistent))
		for to, d := range f.backends[s] {
			lines = append(lines, fmt.Sprintf("%s -> %s weight %d", s, to, d.weight))
		}
	}
	for address := range f.held {
		lines = append(lines, "address "+address.String())
	}
	for _, entries := range f.sets {
		for e := range entries {
			lines = append(lines, e.String())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
