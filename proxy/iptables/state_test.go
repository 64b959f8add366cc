package iptables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// randomPorts are those of a Service of that number; none in one of five cases.
func randomPorts(random *rand.Rand, number int) []plan.Port {
	if random.IntN(5) == 0 {
		return nil
	}
	address := func(first, second byte) netip.Addr {
		return netip.AddrFrom4([4]byte{first, second, byte(number >> 8), byte(number)})
	}
	var ports []plan.Port
	for i := range 1 + random.IntN(2) {
		port := plan.Port{
			Name:      plan.PortName{NamespacedName: serviceName(number), Port: fmt.Sprintf("p%d", i)},
			Protocol:  []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}[random.IntN(3)],
			ClusterIP: address(10, 96), Port: uint16(80 + i),
			InternalLocal: random.IntN(4) == 0,
			ExternalLocal: random.IntN(3) == 0,
		}
		if random.IntN(2) == 0 {
			port.NodePort = uint16(30000 + 2*number + i)
		}
		if random.IntN(3) == 0 {
			port.LoadBalancerIPs = []netip.Addr{address(172, 16)}
			if random.IntN(2) == 0 {
				port.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}
			}
		}
		if random.IntN(4) == 0 {
			port.ExternalIPs = []netip.Addr{address(172, 17)}
		}
		if random.IntN(3) == 0 {
			port.AffinitySeconds = 10800
		}
		for endpoint := range random.IntN(4) {
			port.Cluster = append(port.Cluster, plan.Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(random.IntN(2)), byte(endpoint + 2)}), 8080)})
		}
		if len(port.Cluster) > 0 {
			port.HasEndpoints = true
			port.Local = port.Cluster[:random.IntN(len(port.Cluster)+1)]
		}
		ports = append(ports, port)
	}
	return ports
}

func serviceName(number int) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("s%04d", number)}
}

// compare compares two kernels; with sorted, the order within the shared chains does not matter, but for the last rule.
func compare(actual, expected ruleset, sorted bool) string {
	for _, rules := range []ruleset{actual, expected} {
		for _, c := range sharedChains {
			if all := rules[c]; sorted && len(all) > 0 {
				if c == natServices && !strings.HasSuffix(all[len(all)-1], "-j KUBE-NODEPORTS") {
					return "the last rule of KUBE-SERVICES is " + all[len(all)-1]
				}
				rules[c] = slices.Sorted(slices.Values(all))
			}
		}
	}
	a, b := (&fakeKernel{rules: actual}).String(), (&fakeKernel{rules: expected}).String()
	if a == b {
		return ""
	}
	linesA, linesB := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(linesA), len(linesB)) {
		if linesA[i] != linesB[i] {
			return fmt.Sprintf("line %d is\n%s\nexpected\n%s", i, linesA[i], linesB[i])
		}
	}
	return "one is shorter"
}

func fromScratch(t *testing.T, p plan.Plan) ruleset { return fromScratchFor(t, p, nodeLayout) }

func fromScratchFor(t *testing.T, p plan.Plan, l layout) ruleset {
	t.Helper()
	kernel := newFakeKernel()
	for _, step := range replace(kernel.snapshot(), p, l, nftBounds).steps {
		if err := kernel.restore(step.String()); err != nil {
			t.Errorf("from scratch: %v", err)
		}
	}
	return kernel.rules
}

// Whatever is there, replace ends as from scratch, and leaves what is right alone.
func TestReplaceEndsAsFromScratch(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		before, after := plan.Plan{}, plan.Plan{}
		for number := range 10 {
			before[serviceName(number)] = randomPorts(random, number)
			after[serviceName(number)] = before[serviceName(number)]
			if random.IntN(3) == 0 {
				after[serviceName(number)] = randomPorts(random, number)
			}
		}
		kernel := &fakeKernel{rules: fromScratch(t, before)}
		damage(random, kernel.rules)
		r := replace(kernel.snapshot(), after, nodeLayout, nftBounds)
		for _, step := range slices.Concat(r.steps, r.cleanup) {
			if err := kernel.restore(step.String()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if found := compare(kernel.clone(), fromScratch(t, after), false); found != "" {
			t.Fatalf("seed %d: %s", seed, found)
		}
		r = replace(kernel.snapshot(), after, nodeLayout, nftBounds)
		if len(r.steps)+len(r.cleanup) > 0 {
			t.Fatalf("seed %d: it is right, and still written again:\n%s", seed, r.steps[0])
		}
	}
}

// damage empties some chains, as someone else's flush does, and brings others into disorder.
func damage(random *rand.Rand, rules ruleset) {
	for _, c := range sortedChains(rules) {
		switch random.IntN(8) {
		case 0:
			if !isServiceChain(c) { // INPUT and the like are flushed with their jumps
				keep := c.name != "INPUT" && c.name != "OUTPUT" && c.name != "FORWARD" && c.name != "PREROUTING" && c.name != "POSTROUTING"
				if !keep {
					continue
				}
			}
			rules[c] = nil
		case 1:
			if len(rules[c]) > 1 && strings.HasPrefix(c.name, "KUBE-") {
				slices.Reverse(rules[c])
			}
		}
	}
}

// Long shared chains are edited, and the last rule gets back to its place wherever it was.
func TestReplaceEditsLongChains(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	before, after := plan.Plan{}, plan.Plan{}
	for number := range 3 * nftBounds.rewrite {
		before[serviceName(number)] = randomPorts(random, number)
		after[serviceName(number)] = before[serviceName(number)]
		if number%100 == 0 {
			after[serviceName(number)] = randomPorts(random, number)
		}
	}
	kernel := &fakeKernel{rules: fromScratch(t, before)}
	all := kernel.rules[natServices]
	kernel.rules[natServices] = append([]string{all[len(all)-1], all[len(all)-1]}, all[:len(all)-1]...)
	r := replace(kernel.snapshot(), after, nodeLayout, nftBounds)
	written := 0
	for _, step := range slices.Concat(r.steps, r.cleanup) {
		written += step.lines
		if err := kernel.restore(step.String()); err != nil {
			t.Fatal(err)
		}
	}
	if total := 12 * len(after); written > total/10 {
		t.Errorf("%d lines for six changed Services of %d", written, len(after))
	}
	if found := compare(kernel.clone(), fromScratch(t, after), true); found != "" {
		t.Fatal(found)
	}
	if found := r.state.difference(kernel.snapshot(), sameRules); found != "" {
		t.Fatal(found)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	p := plan.Plan{}
	for number := range 2000 {
		p[serviceName(number)] = randomPorts(random, number)
	}
	for _, step := range replace(newFakeKernel().snapshot(), p, nodeLayout, nftBounds).steps {
		if step.lines > nftBounds.lines()+200 {
			t.Errorf("a transaction of %d lines", step.lines)
		}
	}
}

func TestUpdateWritesOnlyWhatChanged(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml", corev1.IPv4Protocol)
	s := replace(newFakeKernel().snapshot(), p, nodeLayout, nftBounds).state
	name := types.NamespacedName{Namespace: "default", Name: "numbers-web"}
	port := p[name][0]
	var text strings.Builder
	for _, change := range []struct {
		about     string
		endpoints []plan.Endpoint
	}{
		{"nothing", port.Cluster},
		{"another endpoint", []plan.Endpoint{port.Cluster[0], {AddrPort: netip.MustParseAddrPort("10.244.1.9:80")}}},
		{"no endpoint", nil},
		{"the first endpoint", port.Cluster[:1]},
	} {
		next := port
		next.Cluster, next.HasEndpoints = change.endpoints, len(change.endpoints) > 0
		u := s.update(plan.Plan{name: {next}})
		fmt.Fprintf(&text, "# %s\n%s", change.about, u.step)
		s.commit(u)
	}
	fmt.Fprintf(&text, "# the Service is deleted\n%s", s.update(plan.Plan{name: nil}).step)
	checkGolden(t, "testdata/updates.restore", text.String())
}
