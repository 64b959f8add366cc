package nftables

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/kubelite/kubelite/proxy/plantest"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

const familyIPv4 = family(unix.NFPROTO_IPV4)

func layoutOf(f corev1.IPFamily) layout {
	if f == corev1.IPv6Protocol {
		return layout{unix.NFPROTO_IPV6, optionsIPv6}
	}
	return layout{unix.NFPROTO_IPV4, nodeOptions}
}

var optionsIPv6 = backend.Options{
	Family:        corev1.IPv6Protocol,
	ClusterCIDR:   netip.MustParsePrefix("fd00:10:244::/56"),
	NodeIPs:       []netip.Addr{netip.MustParseAddr("fd00:192:168:1::2")},
	MasqueradeBit: 14,
}

var bothFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}

// fromScratch is what an empty table becomes.
func fromScratch(p plan.Plan, l layout) *fakeTable {
	s, table := newState(l, len(p)), newFakeTable()
	s.fill(p)
	s.write(table)
	return table
}

// Random changes end in what the whole plan makes of an empty table, and so does taking over from any state.
func TestChangesEndAsFromScratch(t *testing.T) {
	for _, of := range bothFamilies {
		l := layoutOf(of)
		for seed := range uint64(50) {
			world := plantest.New(seed, plantest.Options{Family: of, Services: 15})
			s, table := newState(l, 0), newFakeTable()
			s.fill(world.Plan())
			s.write(table)
			before := table.clone()
			for step := range 40 {
				memories := s.possibleMemories()
				outdated := s.update(world.Change(), table)
				s.checkMemories(t, memories, outdated)
				expected := fromScratch(world.Plan(), l)
				if difference := expected.difference(table, l.family); difference != "" {
					t.Fatalf("seed %d step %d: %s", seed, step, difference)
				}
				if len(table.failures)+len(expected.failures) > 0 {
					t.Fatalf("seed %d step %d: %q %q", seed, step, table.failures, expected.failures)
				}
			}
			next := newState(l, 0)
			next.fill(world.Plan())
			if err := next.adopt(before.chains, before.each, before); err != nil {
				t.Fatal(err)
			}
			if difference := table.difference(before, l.family); difference != "" || len(before.failures) > 0 {
				t.Fatalf("seed %d taken over: %s %q", seed, difference, before.failures)
			}
			refilled := before.clone()
			stale := newState(l, 0)
			stale.fill(plantest.New(seed+1000, plantest.Options{Family: of}).Plan())
			other := newFakeTable()
			stale.write(other)
			next.refill(other.chains, other)
			if difference := other.difference(refilled, l.family); difference != "" || len(other.failures) > 0 {
				t.Fatalf("seed %d refilled: %s %q", seed, difference, other.failures)
			}
			writes := before.writes
			twice := func(f func(element) error) error { return errors.Join(before.each(f), before.each(f)) }
			if err := next.adopt(before.clone().chains, twice, before); err != nil || before.writes != writes {
				t.Fatalf("seed %d: %d writes where all was right, %v", seed, before.writes-writes, err)
			}
		}
	}
}

// Services that claim the same addresses: whoever is first by name is served, whatever came first.
func TestContestedDestinations(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	l := layoutOf(corev1.IPv4Protocol)
	address := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, 0, byte(n)}) }
	p, s, table := plan.Plan{}, newState(l, 0), newFakeTable()
	for step := range 2000 {
		changed := plan.Plan{}
		for range 1 + random.IntN(3) {
			name := serviceName(random.IntN(6))
			var ports []plan.Port
			for range random.IntN(3) {
				port := plan.Port{
					Protocol: corev1.ProtocolTCP, ClusterIP: address(random.IntN(3)), Port: uint16(80 + random.IntN(2)),
					NodePort: uint16(random.IntN(3)), HasEndpoints: true,
					ExternalIPs:     []netip.Addr{address(random.IntN(6))},
					LoadBalancerIPs: []netip.Addr{address(random.IntN(6))},
					SourceRanges:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.96.0.0/16")},
					ExternalLocal:   random.IntN(2) == 0,
					AffinitySeconds: int32(random.IntN(3)),
				}
				for n := range random.IntN(4) {
					port.Cluster = append(port.Cluster, plan.Endpoint{AddrPort: netip.AddrPortFrom(address(100+n), 80)})
					port.Hairpin = append(port.Hairpin, address(100+n))
				}
				port.Local = port.Cluster[:len(port.Cluster)/2]
				ports = append(ports, port)
			}
			changed[name] = ports
		}
		for name, ports := range changed {
			if p[name] = ports; len(ports) == 0 {
				delete(p, name)
			}
		}
		memories := s.possibleMemories()
		outdated := s.update(changed, table)
		s.checkMemories(t, memories, outdated)
		expected := fromScratch(p, l)
		if difference := expected.difference(table, l.family); difference != "" || len(table.failures) > 0 {
			t.Fatalf("step %d: %s %q", step, difference, table.failures)
		}
	}
}

// A chain's name says all about it.
func TestChainNames(t *testing.T) {
	for kind := toClusterIP; kind <= remember; kind++ {
		for _, sticky := range []bool{false, true} {
			c := chain{kind, 17, sticky && kind != remember}
			if found, ok := chainNamed(c.name()); !ok || found != c {
				t.Errorf("%s is read as %v", c.name(), found)
			}
		}
	}
	for _, name := range []string{"refuse", "services", "cluster-ip-", "cluster-ip-5x", "cluster-ip-05", "external-local", "remember-5", "drop-1"} {
		if found, ok := chainNamed(name); ok {
			t.Errorf("%s is read as %v", name, found)
		}
	}
}

// However many Services there are, the rules stay the same.
func TestConstantNumberOfChains(t *testing.T) {
	for _, services := range []int{1, 10, 1000} {
		table := fromScratch(plantest.Uniform(services, 5), layoutOf(corev1.IPv4Protocol))
		if !maps.Equal(table.chains, map[chain]bool{{toClusterIP, 5, false}: true}) {
			t.Errorf("%d Services have chains %v", services, table.chains)
		}
	}
}
