package ipvs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/kubelite/kubelite/proxy/plantest"
)

var testOptions = backend.Options{
	Family:        corev1.IPv4Protocol,
	ClusterCIDR:   netip.MustParsePrefix("10.244.0.0/16"),
	NodeIPs:       []netip.Addr{netip.MustParseAddr("192.168.1.2")},
	MasqueradeBit: 14,
}

// family leaves only the ports of one family, as the proxy does.
func family(p plan.Plan, family corev1.IPFamily) plan.Plan {
	all := plan.Plan{}
	for name, ports := range p {
		all[name] = slices.DeleteFunc(slices.Clone(ports), func(port plan.Port) bool { return port.Family() != family })
	}
	return all
}

// fromScratch is what a kernel holds after one Replace.
func fromScratch(t *testing.T, options backend.Options, p plan.Plan) *fakeKernel {
	t.Helper()
	kernel := newFake(options)
	if err := newBackend(options, DefaultScheduler, kernel).Replace(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return kernel
}

func expectSame(t *testing.T, actual, expected string) {
	t.Helper()
	if actual != expected {
		t.Fatal("the kernel has " + firstDifference(expected, actual))
	}
}

func TestIncrementalIsAsFromScratch(t *testing.T) {
	for _, one := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		for seed := range uint64(100) {
			t.Run(fmt.Sprint(one, seed), func(t *testing.T) {
				options := testOptions
				options.Family = one
				world, kernel := plantest.New(seed, plantest.Options{Services: 20}), newFake(options)
				b := newBackend(options, DefaultScheduler, kernel)
				if err := b.Replace(t.Context(), family(world.Plan(), one)); err != nil {
					t.Fatal(err)
				}
				for range 10 {
					if err := b.Update(t.Context(), family(world.Change(), one)); err != nil {
						t.Fatal(err)
					}
					expectSame(t, kernel.dump(), fromScratch(t, options, family(world.Plan(), one)).dump())
				}
				if found, err := b.Difference(t.Context()); found != "" || err != nil {
					t.Errorf("difference %q, %v", found, err)
				}
			})
		}
	}
}

// A process that is killed after any write is followed by one that finishes the work, and one that finds all right writes nothing.
func TestReplaceTakesOver(t *testing.T) {
	for seed := range uint64(100) {
		world, kernel := plantest.New(seed, plantest.Options{Services: 10}), newFake(testOptions)
		random := rand.New(rand.NewPCG(seed, 0))
		for range 5 {
			kernel.failAfter = random.IntN(60)
			b := newBackend(testOptions, DefaultScheduler, kernel)
			if err := b.Replace(t.Context(), family(world.Plan(), corev1.IPv4Protocol)); err == nil {
				err = b.Update(t.Context(), family(world.Change(), corev1.IPv4Protocol))
				if err != nil && !strings.HasSuffix(err.Error(), errKilled.Error()) {
					t.Fatal(err)
				}
			} else if !strings.HasSuffix(err.Error(), errKilled.Error()) {
				t.Fatal(err)
			}
		}
		kernel.failAfter = -1
		expected := fromScratch(t, testOptions, family(world.Plan(), corev1.IPv4Protocol))
		for range 2 {
			kernel.writes = nil
			if err := newBackend(testOptions, DefaultScheduler, kernel).Replace(t.Context(), family(world.Plan(), corev1.IPv4Protocol)); err != nil {
				t.Fatal(err)
			}
			expectSame(t, kernel.dump(), expected.dump())
		}
		if len(kernel.writes) > 0 {
			t.Errorf("what was right was touched: %q", kernel.writes)
		}
	}
}

// web is a Service with one TCP port.
func web(change func(*plan.Port), endpoints ...string) plan.Plan {
	name := types.NamespacedName{Namespace: "default", Name: "web"}
	port := plan.Port{Name: plan.PortName{NamespacedName: name}, Protocol: corev1.ProtocolTCP,
		ClusterIP: netip.MustParseAddr("10.96.0.10"), Port: 80, HasEndpoints: len(endpoints) > 0}
	for _, endpoint := range endpoints {
		port.Cluster = append(port.Cluster, plan.Endpoint{AddrPort: netip.MustParseAddrPort(endpoint)})
	}
	change(&port)
	return plan.Plan{name: {port}}
}

func asIs(*plan.Port) {}

func TestEndpointKeepsConnections(t *testing.T) {
	const leaves = "10.244.0.2:8080"
	to, s := netip.MustParseAddrPort(leaves), server{corev1.ProtocolTCP, netip.MustParseAddrPort("10.96.0.10:80")}
	kernel := newFake(testOptions)
	b := newBackend(testOptions, DefaultScheduler, kernel)
	if err := b.Replace(t.Context(), web(asIs, leaves, "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	kernel.backends[s][to] = destination{weight: 1, connections: 2}
	if err := b.Update(t.Context(), web(asIs, "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Difference(t.Context()); found != "" || err != nil {
		t.Fatalf("difference %q, %v", found, err)
	}
	if actual := kernel.backends[s][to]; actual != (destination{0, 2}) {
		t.Fatalf("an endpoint with connections became %+v", actual)
	}
	// The next process continues to wait for it.
	b = newBackend(testOptions, DefaultScheduler, kernel)
	if err := b.Replace(t.Context(), web(asIs, "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	kernel.backends[s][to] = destination{}
	if found, err := b.Difference(t.Context()); found != "" || err != nil {
		t.Fatalf("difference %q, %v", found, err)
	}
	if _, there := kernel.backends[s][to]; there {
		t.Error("an endpoint without connections is still there")
	}
	// It may come back before its connections have ended.
	kernel.backends[s][to] = destination{0, 2}
	if err := b.Update(t.Context(), web(asIs, leaves, "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	if actual := kernel.backends[s][to]; actual != (destination{1, 2}) {
		t.Errorf("an endpoint that came back is %+v", actual)
	}
}

func TestEndpointOfUDPKeepsNothingUnlessItDrains(t *testing.T) {
	udp := func(port *plan.Port) { port.Protocol = corev1.ProtocolUDP }
	draining := func(port *plan.Port) {
		udp(port)
		port.Draining = []plan.Endpoint{{AddrPort: netip.MustParseAddrPort("10.244.0.2:8080")}}
	}
	to, s := netip.MustParseAddrPort("10.244.0.2:8080"), server{corev1.ProtocolUDP, netip.MustParseAddrPort("10.96.0.10:80")}
	kernel := newFake(testOptions)
	b := newBackend(testOptions, DefaultScheduler, kernel)
	if err := b.Replace(t.Context(), web(udp, "10.244.0.2:8080", "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	kernel.backends[s][to] = destination{1, 2}
	if err := b.Update(t.Context(), web(draining, "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	if actual := kernel.backends[s][to]; actual != (destination{0, 2}) {
		t.Fatalf("a draining endpoint became %+v", actual)
	}
	if err := b.Update(t.Context(), web(udp, "10.244.0.3:8080")); err != nil {
		t.Fatal(err)
	}
	if _, there := kernel.backends[s][to]; there {
		t.Error("an endpoint that is gone is still there")
	}
}

// What the kernel refuses of one Service is no harm to the others.
func TestRefusedByKernel(t *testing.T) {
	kernel := newFake(testOptions)
	kernel.node.broadcasts = addresses("10.244.0.255")
	b := newBackend(testOptions, DefaultScheduler, kernel)
	p := web(asIs, "10.244.0.2:8080", "10.244.0.255:8080", "239.1.1.1:8080", "255.255.255.255:8080")
	if err := b.Replace(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	s := server{corev1.ProtocolTCP, netip.MustParseAddrPort("10.96.0.10:80")}
	if to := sortedDestinations(kernel.backends[s]); len(to) != 1 || to[0].String() != "10.244.0.2:8080" {
		t.Errorf("destinations %v", to)
	}
	if found, err := b.Difference(t.Context()); found != "" || err != nil {
		t.Errorf("difference %q, %v", found, err)
	}
	multicast := func(port *plan.Port) {
		port.ClusterIP, port.ExternalIPs = netip.MustParseAddr("fd00:60::a"), addresses("ff05::1")
	}
	six := testOptions
	six.Family = corev1.IPv6Protocol
	if err := newBackend(six, DefaultScheduler, newFake(six)).Replace(t.Context(), web(multicast, "[fd00:f4::2]:8080")); err != nil {
		t.Error(err)
	}
}

func TestDifference(t *testing.T) {
	s := server{corev1.ProtocolTCP, netip.MustParseAddrPort("10.96.0.10:80")}
	to := netip.MustParseAddrPort("10.244.0.2:8080")
	other := netip.MustParseAddr("192.168.1.9")
	for expected, change := range map[string]func(*fakeKernel){
		"virtual server TCP 10.96.0.10:80 is gone":                                        func(k *fakeKernel) { delete(k.served, s) },
		"virtual server TCP 10.96.0.10:80 has no destination 10.244.0.2:8080":             func(k *fakeKernel) { delete(k.backends[s], to) },
		"virtual server TCP 10.96.0.10:80 gives destination 10.244.0.2:8080 the weight 7": func(k *fakeKernel) { k.backends[s][to] = destination{weight: 7} },
		"virtual server TCP 10.96.0.10:80 has a destination 192.168.1.9:1 that is no endpoint": func(k *fakeKernel) {
			k.backends[s][netip.AddrPortFrom(other, 1)] = destination{weight: 1}
		},
		"virtual server UDP 192.168.1.9:1 belongs to no Service": func(k *fakeKernel) {
			k.served[server{corev1.ProtocolUDP, netip.AddrPortFrom(other, 1)}] = settings{}
		},
		"virtual server TCP 10.96.0.10:80 has scheduler sh and persistence 0 s instead of rr and 0 s": func(k *fakeKernel) { k.served[s] = settings{scheduler: "sh"} },
		"entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80 is gone":                                             func(k *fakeKernel) { clear(k.sets[clusterIP]) },
		"entry KUBE-IPVS-IPS 192.168.1.9 belongs to no Service":                                       func(k *fakeKernel) { k.sets[ipvsIPs][entry{set: ipvsIPs, address: other}] = true },
		"set KUBE-LOOP-BACK: does not exist":                                                          func(k *fakeKernel) { delete(k.sets, loopBack) },
		"link kube-ipvs0 has no address 10.96.0.10":                                                   func(k *fakeKernel) { clear(k.held) },
		"address 192.168.1.9 on link kube-ipvs0 belongs to no Service":                                func(k *fakeKernel) { k.held[other] = true },
		"the node's addresses are [192.168.1.2 192.168.1.9] instead of [192.168.1.2]":                 func(k *fakeKernel) { k.node.addresses = []netip.Addr{k.node.addresses[0], other} },
		"the node's gateways are [] instead of [192.168.1.1]":                                         func(k *fakeKernel) { k.node.gateways = nil },
		`iptables rules are "nothing" instead of "nat -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-IPVS-SERVICES"`: func(k *fakeKernel) {
			k.text = k.text[:strings.Index(k.text, "nat -A PREROUTING")]
		},
	} {
		t.Run(expected, func(t *testing.T) {
			kernel := newFake(testOptions)
			b := newBackend(testOptions, DefaultScheduler, kernel)
			p := web(asIs, "10.244.0.2:8080")
			if err := b.Replace(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			before := kernel.dump()
			change(kernel)
			if found, err := b.Difference(t.Context()); err != nil || found != expected {
				t.Errorf("found %q, %v", found, err)
			}
			kernel.node = newFake(testOptions).node
			if err := b.Replace(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			expectSame(t, kernel.dump(), before)
			if found, err := b.Difference(t.Context()); err != nil || found != "" {
				t.Errorf("after the repair found %q, %v", found, err)
			}
		})
	}
}
