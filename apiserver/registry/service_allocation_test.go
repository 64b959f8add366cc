package registry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestClusterIPTaken(t *testing.T) {
	kinds := newTable(testConfig())
	first := kinds.create(t, "services", service("clusterIP: 10.96.0.10\nports: [{port: 80}]"))
	if len(first.lines()) > 0 {
		t.Fatal(first.lines())
	}
	second := service("clusterIP: 10.96.0.10\nports: [{port: 80}]")
	equalLines(t, "errors", kinds.create(t, "services", second).lines(), []string{
		`Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated`})
	kinds["services"].AfterDelete(first.obj)
	equalLines(t, "errors after the delete", kinds.create(t, "services", second).lines(), nil)
}

func TestNodePortTaken(t *testing.T) {
	kinds := newTable(testConfig())
	manifest := service("type: NodePort\nports: [{port: 80, nodePort: 30080}]")
	first := kinds.create(t, "services", manifest)
	if len(first.lines()) > 0 {
		t.Fatal(first.lines())
	}
	const taken = `Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated`
	equalLines(t, "errors", kinds.create(t, "services", manifest).lines(), []string{taken})
	// Its own update does not find it taken; a change of type frees it.
	equalLines(t, "errors of an update", kinds.change(t, "services", first.obj, manifest).lines(), nil)
	equalLines(t, "errors", kinds.create(t, "services", manifest).lines(), []string{taken})
	equalLines(t, "errors of a change of type", kinds.change(t, "services", first.obj, service("ports: [{port: 80}]")).lines(), nil)
	equalLines(t, "errors after it", kinds.create(t, "services", manifest).lines(), nil)
}

// TestUncommitted: a dry run or a failed write takes nothing, and an update that was not stored frees nothing.
func TestUncommitted(t *testing.T) {
	kinds := newTable(testConfig())
	kind := kinds["services"]
	manifest := service("type: NodePort\nclusterIP: 10.96.0.10\nports: [{port: 80, nodePort: 30080}]")
	admit := func(obj, old Object, committed bool) error {
		finish, err := kind.Begin(context.Background(), obj, old)
		if err == nil {
			finish(committed)
		}
		return err
	}
	prepared := func(manifest string) Object {
		obj := kinds.decode(t, "services", manifest)
		kind.Default(obj)
		kind.PrepareForCreate(obj)
		return obj
	}
	for range 2 {
		if err := admit(prepared(manifest), nil, false); err != nil {
			t.Fatal(err)
		}
	}
	stored := prepared(manifest)
	if err := admit(stored, nil, true); err != nil {
		t.Fatal(err)
	}
	if err := admit(prepared(service("type: ExternalName\nexternalName: a.b")), stored, false); err != nil {
		t.Fatal(err)
	}
	if err := admit(prepared(manifest), nil, true); err == nil {
		t.Error("addresses of a stored Service were handed out again")
	}
}

// TestHalfTaken: a Service whose second port is refused leaves its address and its first port free.
func TestHalfTaken(t *testing.T) {
	kinds := newTable(testConfig())
	const good = "type: NodePort\nclusterIP: 10.96.0.10\nports: [{name: a, port: 80, nodePort: 30080}]"
	equalLines(t, "errors", kinds.create(t, "services",
		service("type: NodePort\nclusterIP: 10.96.0.10\nports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 80}]")).lines(),
		[]string{`Service "web" is invalid: spec.ports[1].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`})
	equalLines(t, "errors", kinds.create(t, "services", service(good)).lines(), nil)
}

func TestLoaded(t *testing.T) {
	stored := newTable(testConfig()).create(t, "services", service("type: LoadBalancer\nexternalTrafficPolicy: Local\nports: [{port: 80}]")).obj
	kinds := newTable(testConfig())
	kinds["services"].Loaded(stored)
	again := kinds.create(t, "services", service("type: LoadBalancer\nexternalTrafficPolicy: Local\nports: [{port: 80}]"))
	if len(again.lines()) > 0 {
		t.Fatal(again.lines())
	}
	a, b := stored.(*corev1.Service).Spec, again.obj.(*corev1.Service).Spec
	ports := []int32{a.Ports[0].NodePort, a.HealthCheckNodePort, b.Ports[0].NodePort, b.HealthCheckNodePort}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 4 {
		t.Errorf("the same seed gave what was taken: %+v and %+v", a, b)
	}
}

// TestSharedNodePort: of two stored Services with one node port neither gives it back for the other.
func TestSharedNodePort(t *testing.T) {
	const manifest = "type: NodePort\nports: [{port: 80, nodePort: 30080}]"
	stored := newTable(testConfig()).create(t, "services", service(manifest)).obj
	kinds := newTable(testConfig())
	kinds["services"].Loaded(stored)
	kinds["services"].Loaded(stored)
	kinds["services"].AfterDelete(stored)
	equalLines(t, "errors", kinds.create(t, "services", service(manifest)).lines(), []string{
		`Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated`})
	kinds["services"].AfterDelete(stored)
	equalLines(t, "errors after both are gone", kinds.create(t, "services", service(manifest)).lines(), nil)
}

// addressesOf makes the pool of a cluster with one ServiceCIDR.
func addressesOf(cidr string, taken map[string]bool) *addressPool {
	obj := &networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{cidr}}}
	prepareServiceCIDR(obj)
	return newAddressPool(Config{
		IntN: rand.New(rand.NewPCG(7, 7)).IntN,
		List: func(schema.GroupResource) []Object { return []Object{obj} },
		Get: func(_ schema.GroupResource, _, name string) Object {
			if taken[name] {
				return &networkingv1.IPAddress{}
			}
			return nil
		},
	})
}

func TestPortPoolBand(t *testing.T) {
	if ports := newPortPool(30000, 32767, nil); ports.dynamic != 30086 {
		t.Errorf("first dynamic node port is %d", ports.dynamic)
	}
}

// TestAddressesExhausted: the addresses kept for those who ask are used last, nothing is given twice, and then the range is full.
func TestAddressesExhausted(t *testing.T) {
	for _, c := range []struct {
		cidr, network    string
		family           corev1.IPFamily
		static, capacity int
	}{
		{"10.0.0.0/24", "10.0.0.0", corev1.IPv4Protocol, 16, 254}, {"10.0.0.16/28", "10.0.0.16", corev1.IPv4Protocol, 0, 14},
		{"fd00::/120", "fd00::", corev1.IPv6Protocol, 16, 255}, {"10.0.0.0/20", "10.0.0.0", corev1.IPv4Protocol, 256, 4094},
	} {
		taken := map[string]bool{}
		pool := addressesOf(c.cidr, taken)
		for i := range c.capacity {
			address, err := pool.next(c.family)
			if err != nil {
				t.Fatal(c.cidr, i, err)
			}
			if taken[address.String()] || !netip.MustParsePrefix(c.cidr).Contains(address) || address.String() == c.network {
				t.Fatalf("%s: %s given, before: %v", c.cidr, address, taken[address.String()])
			}
			if c.static > 0 && i == c.capacity-c.static-1 {
				if low := addressAt(netip.MustParsePrefix(c.cidr), 1); taken[low.String()] {
					t.Errorf("%s: the static %s was given before the range was full", c.cidr, low)
				}
			}
			taken[address.String()] = true
			pool.free([]netip.Addr{address})
		}
		if _, err := pool.next(c.family); err != errPoolFull {
			t.Errorf("%s: error %v", c.cidr, err)
		}
		if _, err := pool.next(otherFamily(c.family)); err != errPoolFull {
			t.Errorf("%s: error of the other family: %v", c.cidr, err)
		}
	}
}

func TestWideRanges(t *testing.T) {
	for cidr, family := range map[string]corev1.IPFamily{"fd00:10:96::/64": corev1.IPv6Protocol, "0.0.0.0/0": corev1.IPv4Protocol, "fd00::/108": corev1.IPv6Protocol} {
		address, err := addressesOf(cidr, nil).next(family)
		if err != nil || !netip.MustParsePrefix(cidr).Contains(address) {
			t.Errorf("%s: %s, %v", cidr, address, err)
		}
	}
}

func TestAllocationIsSeeded(t *testing.T) {
	addresses := func() (all []string) {
		kinds := newTable(testConfig())
		for i := range 5 {
			service := kinds.create(t, "services", fmt.Sprintf("metadata: {name: s%d}\nspec: {type: NodePort, ports: [{port: 80}]}", i)).obj.(*corev1.Service)
			all = append(all, service.Spec.ClusterIP, fmt.Sprint(service.Spec.Ports[0].NodePort))
		}
		return all
	}
	if first, second := addresses(), addresses(); !slices.Equal(first, second) {
		t.Errorf("%v and %v", first, second)
	}
}

func TestAllocationConcurrently(t *testing.T) {
	config := testConfig()
	config.IntN = nil
	kinds := newTable(config)
	kind := kinds["services"]
	base := kinds.decode(t, "services", service("type: NodePort\nports: [{port: 80}]"))
	kind.Default(base)
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		seen = map[string]int{}
	)
	for i := range 100 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			service := base.DeepCopyObject().(*corev1.Service)
			service.Name = fmt.Sprintf("web-%d", i)
			finish, err := kind.Begin(context.Background(), service, nil)
			if err != nil {
				t.Error(err)
				return
			}
			finish(true)
			mu.Lock()
			defer mu.Unlock()
			seen[service.Spec.ClusterIP]++
			seen[fmt.Sprint(service.Spec.Ports[0].NodePort)]++
		}()
	}
	wait.Wait()
	if len(seen) != 200 {
		t.Errorf("%d different addresses and ports, want 200", len(seen))
	}
}
