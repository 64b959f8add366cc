package iptables

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/internal/netfilter"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/kubelite/kubelite/proxy/plantest"
	corev1 "k8s.io/api/core/v1"
)

var familyOptions = map[corev1.IPFamily]backend.Options{corev1.IPv4Protocol: nodeOptions, corev1.IPv6Protocol: node6Options}

// tinyBounds cut everywhere, and edit shared chains from the first rule on.
var tinyBounds = bounds{services: 0, edits: 1, rewrite: 0}

func newWorld(seed uint64, family corev1.IPFamily, services int) *plantest.World {
	return plantest.New(seed, plantest.Options{Family: family, Services: services, Node: plan.Node{Name: "node-1"}})
}

// A thousand random plans: whatever happened before, the rules end as they would from scratch, and while they change, no rule of a
// Service that does not change is missing, not even between two tables of one transaction.
func TestRandomPlansEndAsFromScratch(t *testing.T) {
	for family, options := range familyOptions {
		for name, b := range map[string]bounds{"as usual": nftBounds, "edited": {services: 100, edits: 1000}, "longer and shorter": {services: 100, edits: 1000, rewrite: 15}} {
			t.Run(fmt.Sprint(family, " ", name), func(t *testing.T) {
				for seed := range uint64(9) {
					world, kernel := newWorld(seed, family, 12), newFakeKernel()
					r := replace(kernel.snapshot(), world.Plan(), layoutOf(options), b)
					apply(t, kernel, r.steps)
					s := r.state
					for range 20 {
						before := world.Plan()
						changed := world.Change()
						u := s.update(changed)
						kernel.committed = func() { checkUnchanged(t, kernel.rules, s.layout, before, world.Plan()) }
						if !u.step.empty() {
							apply(t, kernel, asProgrammed(u.step, seed))
						}
						s.commit(u)
						if found := s.difference(kernel.snapshot(), sameRules); found != "" {
							t.Fatalf("seed %d: what is believed to be written: %s", seed, found)
						}
						if actual := countOwn(kernel.rules); !maps.Equal(s.rules, actual) {
							t.Fatalf("seed %d: counted %v rules, there are %v", seed, s.rules, actual)
						}
						sortedOnly := b.rewrite < nftBounds.rewrite
						if found := compare(kernel.clone(), fromScratchFor(t, world.Plan(), layoutOf(options)), sortedOnly); found != "" {
							t.Fatalf("seed %d: %s", seed, found)
						}
					}
				}
			})
		}
	}
}

// A process that ends at any point of a Replace leaves a kernel from which the next one gets on, and at no point a rule of a
// Service is missing that was there before and is there after.
func TestKilledReplaceIsContinued(t *testing.T) {
	for family, options := range familyOptions {
		for _, b := range []bounds{tinyBounds, nftBounds} {
			for seed := range uint64(5) {
				l, world := layoutOf(options), newWorld(seed, family, 10)
				before := world.Plan()
				for range 5 {
					world.Change()
				}
				after := world.Plan()
				expected := fromScratchFor(t, after, l)
				for killedAfter := 0; ; killedAfter++ {
					kernel := &fakeKernel{rules: fromScratchFor(t, before, l)}
					kernel.committed = func() { checkUnchanged(t, kernel.rules, l, before, after) }
					r := replace(kernel.snapshot(), after, l, b)
					steps := slices.Concat(r.steps, r.cleanup)
					apply(t, kernel, steps[:min(killedAfter, len(steps))])
					next := replace(kernel.snapshot(), after, l, b)
					apply(t, kernel, slices.Concat(next.steps, next.cleanup))
					if found := compare(kernel.clone(), (&fakeKernel{rules: expected}).clone(), true); found != "" {
						t.Fatalf("%s, seed %d, killed after %d of %d: %s", family, seed, killedAfter, len(steps), found)
					}
					if killedAfter >= len(steps) {
						break
					}
				}
			}
		}
	}
}

// countOwn counts the rules in the chains named as kube-proxy's.
func countOwn(rules ruleset) counts {
	all := counts{}
	for c, own := range rules {
		if strings.HasPrefix(c.name, "KUBE-") {
			all[c.table] += len(own)
		}
	}
	return all
}

// asProgrammed is the step as Backend.program does it: for odd seeds as with nf_tables, where deleting comes after the rest.
func asProgrammed(step *transaction, seed uint64) []*transaction {
	if seed%2 == 0 {
		return []*transaction{step}
	}
	var steps []*transaction
	for _, input := range step.tables {
		for _, part := range []*tableInput{input.writing(), input.deleting()} {
			if !part.empty() {
				steps = append(steps, &transaction{tables: []*tableInput{part}})
			}
		}
	}
	return steps
}

func apply(t *testing.T, kernel *fakeKernel, steps []*transaction) {
	t.Helper()
	for _, step := range steps {
		if err := kernel.restore(step.String()); err != nil {
			t.Fatalf("%v\n%s", err, step)
		}
	}
}

// checkUnchanged says where a rule is missing that leads to a Service that is the same before and after.
func checkUnchanged(t *testing.T, rules ruleset, l layout, before, after plan.Plan) {
	t.Helper()
	for name, ports := range before {
		if !reflect.DeepEqual(ports, after[name]) {
			continue
		}
		expected := l.rules(ports)
		for _, own := range expected.own {
			if !slices.Equal(rules[own.chain], own.rules) {
				t.Fatalf("%s of the unchanged Service %s is %q", own.chain, name, rules[own.chain])
			}
		}
		for c, shared := range expected.shared {
			for _, rule := range shared {
				if !slices.Contains(rules[c], rule) {
					t.Fatalf("%s lacks the rule of the unchanged Service %s: %s", c, name, rule)
				}
			}
		}
	}
	for _, last := range l.nodePorts {
		if !slices.Contains(rules[natServices], last) {
			t.Fatalf("KUBE-SERVICES lacks %q", last)
		}
	}
	for _, j := range jumps {
		if !j.in(rules[j.from]) {
			t.Fatalf("%s lacks %q", j.from, j.rule)
		}
	}
}

// What is true of the fake kernel is true of the real one, with both variants and families, and also where rules of shared chains are
// inserted and removed one by one.
func TestNetnsRandomPlansEndAsFromScratch(t *testing.T) {
	for family, options := range familyOptions {
		variants(t, family, func(t *testing.T, one tool) {
			for name, rewrite := range map[string]int{"as usual": nftBounds.rewrite, "edited": 0} {
				t.Run(name, func(t *testing.T) {
					inNamespace(t, func() error { return checkRandomPlans(t, family, options, one, rewrite) })
				})
			}
		})
	}
}

func checkRandomPlans(t *testing.T, family corev1.IPFamily, options backend.Options, one tool, rewrite int) error {
	b, err := newBackend(options, one)
	if err != nil {
		return err
	}
	ctx, world := context.Background(), newWorld(1, family, 15)
	if err := b.Replace(ctx, world.Plan()); err != nil {
		return err
	}
	b.state.bounds.rewrite = rewrite
	deleted := false // by handle
	for i := range 15 {
		if found, err := b.Difference(ctx); found != "" || err != nil {
			return fmt.Errorf("before change %d: %s %w", i, found, err)
		}
		if err := b.Update(ctx, world.Change()); err != nil {
			return err
		}
		deleted = deleted || len(b.seen.handles) > 0
		kernel, err := one.save(ctx, func(chain) bool { return true })
		if err != nil {
			return err
		}
		actual := proxyChains(kernel.rules)
		expected := proxyChains(fromScratchFor(t, world.Plan(), b.state.layout))
		if found := compare(actual, expected, rewrite == 0); found != "" {
			t.Errorf("change %d: %s", i, found)
		}
		for table, count := range b.RuleCounts() {
			if there := countOwn(actual)[table]; count.Total != there {
				t.Errorf("change %d: table %s has %d rules, %d were counted", i, table, there, count.Total)
			}
		}
	}
	if expected := one.nft && rewrite == 0; deleted != expected {
		t.Errorf("rules were deleted by handle: %v", deleted)
	}
	found, err := b.Difference(ctx)
	if found != "" {
		t.Error(found)
	}
	return err
}

func proxyChains(rules ruleset) ruleset {
	maps.DeleteFunc(rules, func(c chain, _ []string) bool { return !strings.HasPrefix(c.name, "KUBE-") })
	return rules
}

// Above a thousand endpoints all rules lose the comments of endpoints, and below they get them again; and in both cases the kernel holds
// what it would from scratch.
func TestNetnsLargeCluster(t *testing.T) {
	variants(t, corev1.IPv4Protocol, func(t *testing.T, one tool) {
		inNamespace(t, func() error {
			b, err := newBackend(nodeOptions, one)
			if err != nil {
				return err
			}
			all := manyServices(202)
			p := plan.Plan{}
			for number := range 200 {
				p[serviceName(number)] = all[serviceName(number)]
			}
			if err := b.Replace(context.Background(), p); err != nil {
				return err
			}
			for _, ports := range [][]plan.Port{all[serviceName(201)], nil} {
				if err := b.Update(context.Background(), plan.Plan{serviceName(201): ports}); err != nil {
					return err
				}
				if large := ports != nil; b.state.layout.withoutEndpointComments != large {
					t.Errorf("%d endpoints: without comments %v", b.state.endpoints, !large)
				}
				if found, err := b.Difference(context.Background()); found != "" || err != nil {
					t.Errorf("%d endpoints: %s %v", b.state.endpoints, found, err)
				}
			}
			if one.nft { // what Replace would write is there already
				before, err := netfilter.Generation()
				if err != nil {
					return err
				}
				if err := b.Replace(context.Background(), p); err != nil {
					return err
				}
				if after, err := netfilter.Generation(); after != before {
					t.Errorf("generation %d became %d (%v)", before, after, err)
				}
			}
			return nil
		})
	})
}

// Wherever the first Replace of a large cluster is cut, no rule is written before the chain that it leads to.
func TestFirstReplaceIsCutAnywhere(t *testing.T) {
	l, world := layoutOf(familyOptions[corev1.IPv4Protocol]), newWorld(1, corev1.IPv4Protocol, 20)
	for edits := 1; edits <= 60; edits++ {
		b := bounds{services: 0, edits: edits, rewrite: 0}
		kernel := newFakeKernel()
		r := replace(kernel.snapshot(), world.Plan(), l, b)
		apply(t, kernel, slices.Concat(r.steps, r.cleanup))
	}
}
