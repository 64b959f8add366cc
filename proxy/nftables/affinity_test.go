package nftables

import (
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// possibleMemories are elements that the kernel may have put into affinity, with the milliseconds for which they are remembered: for each
// destination with affinity, and each endpoint that it leads to, a Pod and a client from elsewhere.
func (s *state) possibleMemories() map[element]uint64 {
	node, clients := netip.MustParseAddr("192.168.1.2"), []string{"10.244.7.7", "203.0.113.7"}
	if s.family == unix.NFPROTO_IPV6 {
		node, clients = netip.MustParseAddr("fd00:192:168:1::2"), []string{"fd00:10:244::7", "2001:db8::7"}
	}
	seconds, table := map[destination]int32{}, newFakeTable()
	s.each(func(e element) {
		table.elements[e.key] = e.value
		if e.chain.kind == remember {
			seconds[s.destinationOf(e.key)] = e.chain.count
		}
	})
	all := map[element]uint64{}
	for k, v := range table.elements {
		d := s.destinationOf(k)
		if !k.set.isEndpointMap() || seconds[d] == 0 {
			continue
		}
		milliseconds := uint64(seconds[d]) * 1000
		if d.kind == toNode {
			d.address = addressBytes(node)
		}
		for _, client := range clients {
			e := element{key: key{set: affinity}, value: value{data: v.data}}
			length := copy(e.bytes[:], netip.MustParseAddr(client).AsSlice())
			at := length + copy(e.bytes[length:], d.address[:length])
			e.bytes[at] = d.protocol
			bigEndian.PutUint16(e.bytes[at+4:], d.port)
			if s.remembers(e, milliseconds) { // not where its client is led by another map
				all[e] = milliseconds
			}
		}
	}
	return all
}

// checkMemories fails where a client of those that were remembered before is to be forgotten, and nobody looks.
func (s *state) checkMemories(t *testing.T, before map[element]uint64, outdated bool) {
	t.Helper()
	for e, milliseconds := range before {
		if !outdated && !s.remembers(e, milliseconds) {
			t.Fatalf("nobody forgets the client of %s", s.destinationOf(e.key).text(s.family))
		}
	}
}

// Only a change that takes an endpoint from a Service with affinity, or its affinity, needs a look at who is remembered.
func TestOutdatedMemories(t *testing.T) {
	endpoints := func(numbers ...byte) []plan.Endpoint {
		var all []plan.Endpoint
		for _, n := range numbers {
			all = append(all, plan.Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 0, n}), 8080)})
		}
		return all
	}
	port := func(seconds int32, numbers ...byte) []plan.Port {
		return []plan.Port{{Protocol: corev1.ProtocolTCP, ClusterIP: netip.MustParseAddr("10.96.0.1"), Port: 80, NodePort: 30080,
			AffinitySeconds: seconds, Cluster: endpoints(numbers...), HasEndpoints: len(numbers) > 0}}
	}
	other := []plan.Port{{Protocol: corev1.ProtocolTCP, ClusterIP: netip.MustParseAddr("10.96.0.2"), Port: 80, Cluster: endpoints(9), HasEndpoints: true}}
	first, sticky, last := serviceName(1), serviceName(2), serviceName(3)
	for _, test := range []struct {
		about    string
		before   plan.Plan
		change   plan.Plan
		outdated bool
	}{
		{"no affinity", plan.Plan{sticky: port(0, 1, 2)}, plan.Plan{sticky: port(0, 2)}, false},
		{"another Service", plan.Plan{sticky: port(60, 1, 2), last: other}, plan.Plan{last: nil}, false},
		{"an endpoint more, before the others", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: port(60, 0, 1, 2)}, false},
		{"affinity begins", plan.Plan{sticky: port(0, 1, 2)}, plan.Plan{sticky: port(60, 2)}, false},
		{"an endpoint less", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: port(60, 2)}, true},
		{"another endpoint", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: port(60, 1, 3)}, true},
		{"no endpoint", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: port(60)}, true},
		{"another time", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: port(90, 1, 2)}, true},
		{"affinity ends", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: port(0, 1, 2)}, true},
		{"the Service is gone", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{sticky: nil}, true},
		{"a Service before it has its address now", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{first: port(60, 3)}, true},
		{"a Service behind it wants its address, too", plan.Plan{sticky: port(60, 1, 2)}, plan.Plan{last: port(60, 3)}, false},
	} {
		s := newState(layoutOf(corev1.IPv4Protocol), 0)
		s.fill(test.before)
		if actual := s.update(test.change, newFakeTable()); actual != test.outdated {
			t.Errorf("%s: outdated %v", test.about, actual)
		}
	}
}
