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
		finish, err := kind.Admit(context.Background(), obj, old)
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
	if a.ClusterIP == b.ClusterIP || len(slices.Compact(ports)) != 4 {
		t.Errorf("the same seed gave what was taken: %+v and %+v", a, b)
	}
}

func TestPoolBands(t *testing.T) {
	intN := rand.New(rand.NewPCG(7, 7)).IntN
	for _, c := range []struct {
		cidr                 string
		first, dynamic, last int
	}{
		{"10.96.0.0/12", 1, 257, 1<<20 - 2}, {"10.96.0.0/24", 1, 17, 254}, {"10.96.0.0/20", 1, 257, 4094}, {"10.96.0.0/28", 1, 1, 14},
	} {
		pool := newIPPool(netip.MustParsePrefix(c.cidr), intN)
		if pool.first != c.first || pool.dynamic != c.dynamic || pool.last != c.last {
			t.Errorf("%s: %d %d %d, want %d %d %d", c.cidr, pool.first, pool.dynamic, pool.last, c.first, c.dynamic, c.last)
		}
	}
	if ports := newPortPool(30000, 32767, intN); ports.dynamic != 30086 {
		t.Errorf("first dynamic node port is %d", ports.dynamic)
	}
}

// TestPoolExhausted: the static band is used last, nothing is given twice, and then the pool is full.
func TestPoolExhausted(t *testing.T) {
	pool := newIPPool(netip.MustParsePrefix("10.0.0.0/24"), rand.New(rand.NewPCG(7, 7)).IntN)
	given := map[int]bool{}
	for i := range 254 {
		number, err := pool.next()
		if err != nil {
			t.Fatal(err)
		}
		if given[number] || number < 1 || number > 254 {
			t.Fatalf("number %d, given before: %v", number, given[number])
		}
		if static := number < 17; static != (i >= 238) {
			t.Errorf("pick %d is %d", i, number)
		}
		given[number] = true
	}
	if _, err := pool.next(); err != errPoolFull {
		t.Errorf("error %v", err)
	}
	pool.free(3)
	if number, err := pool.next(); number != 3 || err != nil {
		t.Errorf("got %d, %v", number, err)
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
	for range 100 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			service := base.DeepCopyObject().(*corev1.Service)
			finish, err := kind.Admit(context.Background(), service, nil)
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
