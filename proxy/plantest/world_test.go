package plantest

import (
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/plan"
)

func TestSameSeedSameWorld(t *testing.T) {
	a, b := New(7, Options{}), New(7, Options{})
	for range 100 {
		if !reflect.DeepEqual(a.Change(), b.Change()) || !reflect.DeepEqual(a.Plan(), b.Plan()) {
			t.Fatal("two worlds of one seed differ")
		}
	}
	if reflect.DeepEqual(New(1, Options{}).Plan(), New(2, Options{}).Plan()) {
		t.Error("two seeds, one world")
	}
}

// The changes together lead to where planning everything anew leads.
func TestChangesAddUp(t *testing.T) {
	for seed := range uint64(50) {
		world := New(seed, Options{})
		current := world.Plan()
		for range 30 {
			for name, ports := range world.Change() {
				current[name] = ports
				if len(ports) == 0 {
					delete(current, name)
				}
			}
			services, slices := world.Objects()
			if built := plan.Build(services, slices, plan.Node{Name: Node, Zone: Zone}); !reflect.DeepEqual(current, onlyIPv4(built)) {
				t.Fatalf("seed %d: changes lead to %v, the objects are %v", seed, current, built)
			}
		}
	}
}

func onlyIPv4(all plan.Plan) plan.Plan {
	kept := plan.Plan{}
	for name, ports := range all {
		for _, port := range ports {
			if port.ClusterIP.Is4() {
				kept[name] = append(kept[name], port)
			}
		}
	}
	return kept
}

// Every claim has one owner, and sometimes passes from one Service to another within one change.
func TestClaimsAreUnique(t *testing.T) {
	passed := 0
	for seed := range uint64(50) {
		world := New(seed, Options{})
		owners := map[claim]plan.PortName{}
		for range 50 {
			world.Change()
			next := map[claim]plan.PortName{}
			for _, ports := range world.Plan() {
				for _, port := range ports {
					for _, claim := range portClaims(port) {
						if other, taken := next[claim]; taken && other.NamespacedName != port.Name.NamespacedName {
							t.Fatalf("seed %d: %v belongs to %s and %s", seed, claim, other, port.Name)
						}
						if before, had := owners[claim]; had && before.NamespacedName != port.Name.NamespacedName {
							passed++
						}
						next[claim] = port.Name
					}
				}
			}
			owners = next
		}
	}
	if passed < 500 {
		t.Errorf("%d claims passed from one Service to another in 2,500 changes", passed)
	}
}

func portClaims(port plan.Port) []claim {
	claims := []claim{{address: port.ClusterIP}}
	if port.NodePort != 0 {
		claims = append(claims, claim{protocol: port.Protocol, port: port.NodePort})
	}
	if port.HealthCheckNodePort != 0 {
		claims = append(claims, claim{protocol: corev1.ProtocolTCP, port: port.HealthCheckNodePort})
	}
	for _, address := range append(port.ExternalIPs, port.LoadBalancerIPs...) {
		claims = append(claims, claim{address, port.Protocol, port.Port})
	}
	return claims
}

// Whatever a plan can hold is in some plan.
func TestWorldsHaveEverything(t *testing.T) {
	seen := map[string]int{}
	note := func(what string, is bool) {
		if is {
			seen[what]++
		}
	}
	for seed := range uint64(40) {
		world := New(seed, Options{})
		world.Change()
		for _, ports := range world.Plan() {
			note("several ports", len(ports) > 1)
			for _, port := range ports {
				note(string(port.Protocol), true)
				note("a node port", port.NodePort != 0)
				note("an external address", len(port.ExternalIPs) > 0)
				note("several load balancer's addresses", len(port.LoadBalancerIPs) > 1)
				note("source ranges", len(port.SourceRanges) > 0)
				note("health checks", port.HealthCheckNodePort != 0)
				note("affinity", port.AffinitySeconds > 0)
				note(fmt.Sprintf("internal local %v, external local %v", port.InternalLocal, port.ExternalLocal), true)
				note("no endpoints", !port.HasEndpoints)
				note("endpoints, none local", port.HasEndpoints && (port.InternalLocal || port.ExternalLocal) && len(port.Local) == 0)
				note("ten endpoints", len(port.Cluster) >= 10)
				note("draining", len(port.Draining) > 0)
				note("hairpin", len(port.Hairpin) > 0)
			}
		}
	}
	for _, what := range []string{"several ports", "TCP", "UDP", "SCTP", "a node port", "an external address", "several load balancer's addresses",
		"source ranges", "health checks", "affinity", "internal local false, external local false", "internal local true, external local false",
		"internal local false, external local true", "internal local true, external local true", "no endpoints", "endpoints, none local",
		"ten endpoints", "draining", "hairpin"} {
		if seen[what] < 5 {
			t.Errorf("%s: %d times", what, seen[what])
		}
	}
}

func TestUniform(t *testing.T) {
	uniform := Uniform(1000, 5)
	addresses := map[string]bool{}
	for _, ports := range uniform {
		for _, endpoint := range ports[0].Cluster {
			addresses[endpoint.String()] = true
		}
	}
	if len(uniform) != 1000 || len(addresses) != 5000 {
		t.Errorf("%d Services, %d endpoints", len(uniform), len(addresses))
	}
}
