package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubelite/kubelite/proxy/conntrack"
	"github.com/kubelite/kubelite/proxy/health"
	"github.com/kubelite/kubelite/proxy/metrics"
	"github.com/kubelite/kubelite/proxy/plan"
)

// kernel is a Backend that holds its plan in memory and does as it is told to.
type kernel struct {
	mutex sync.Mutex
	held  plan.Plan
	// calls are what was asked of it: "replace 2" for a plan of two Services, "update a/b 1" for one Service with one port.
	calls []string
	// failures are what the next calls return, "" or none for success.
	failures []string
	changed  string        // what Difference says
	hold     chan struct{} // if not nil, Replace waits for it
	updating func()        // if not nil, Update calls it
}

func (k *kernel) fail() error {
	if len(k.failures) == 0 {
		return nil
	}
	text := k.failures[0]
	k.failures = k.failures[1:]
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func (k *kernel) Replace(ctx context.Context, p plan.Plan) error {
	k.mutex.Lock()
	hold := k.hold
	k.mutex.Unlock()
	if hold != nil {
		<-hold
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.calls = append(k.calls, fmt.Sprint("replace ", len(p)))
	if err := errors.Join(k.fail(), ctx.Err()); err != nil {
		return err
	}
	k.held, k.changed = maps.Clone(p), ""
	return nil
}

func (k *kernel) Update(_ context.Context, p plan.Plan) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.updating != nil {
		k.updating()
	}
	for name, ports := range p {
		k.calls = append(k.calls, fmt.Sprint("update ", name, " ", len(ports)))
		if len(ports) == 0 {
			delete(k.held, name)
		} else {
			k.held[name] = ports
		}
	}
	return k.fail()
}

func (k *kernel) Difference(context.Context) (string, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.changed, nil
}

// rig is a programmer of two families above kernels in memory.
type rig struct {
	testing.TB
	*programmer
	four, six *kernel
	cleaned   []string
}

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, four: &kernel{}, six: &kernel{}}
	m, h := metrics.New("iptables"), health.NewProxy()
	r.programmer = &programmer{
		objects: newObjects(plan.Node{Name: "node-1"}, func(changed, int) {}),
		metrics: m,
		cleanups: map[Mode]func(context.Context) error{NFTables: func(context.Context) error {
			r.cleaned = append(r.cleaned, "nftables")
			return nil
		}},
		complaints: map[Mode]string{},
		programmed: func() { r.cleaned = append(r.cleaned, "programmed") },
	}
	for of, k := range map[corev1.IPFamily]*kernel{corev1.IPv4Protocol: r.four, corev1.IPv6Protocol: r.six} {
		r.families = append(r.families, &family{family: of, backend: k, cleaner: conntrack.NewCleaner(of), health: h, checks: &health.Services{}, metrics: m, current: plan.Plan{}})
	}
	slices.SortFunc(r.families, func(a, b *family) int { return strings.Compare(string(a.family), string(b.family)) })
	return r
}

func (r *rig) service(name, spec string) {
	r.Helper()
	service := &corev1.Service{}
	if err := yaml.UnmarshalStrict([]byte(spec), &service.Spec); err != nil {
		r.Fatal(err)
	}
	service.Namespace, service.Name = "default", name
	r.objects.setService(plan.ReadService(service))
}

func (r *rig) slice(name, service, text string) {
	r.Helper()
	slice := &discoveryv1.EndpointSlice{}
	if err := yaml.UnmarshalStrict([]byte(text), slice); err != nil {
		r.Fatal(err)
	}
	slice.Namespace, slice.Name, slice.Labels = "default", name, map[string]string{discoveryv1.LabelServiceName: service}
	r.objects.setSlice(plan.ReadSlice(slice))
}

// calls takes what was asked of the kernel.
func (r *rig) calls(k *kernel, expected ...string) {
	r.Helper()
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if !slices.Equal(k.calls, expected) {
		r.Errorf("asked %q, expected %q", k.calls, expected)
	}
	k.calls = nil
}

const (
	webSpec  = "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"
	dualSpec = "{clusterIP: 10.96.0.2, clusterIPs: [10.96.0.2, 'fd00::2'], ports: [{port: 80}]}"
	webSlice = "{addressType: IPv4, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1], hints: {forZones: [{name: za}]}}, {addresses: [10.0.0.2], hints: {forZones: [{name: zb}]}}]}"
)

func TestOnlyChangesAreProgrammed(t *testing.T) {
	r, ctx := newRig(t), context.Background()
	r.service("web", webSpec)
	r.service("dual", dualSpec)
	if err := r.begin(ctx); err != nil {
		t.Fatal(err)
	}
	r.calls(r.four, "replace 2")
	r.calls(r.six, "replace 1")
	if fmt.Sprint(r.cleaned) != "[nftables programmed]" {
		t.Errorf("cleaned %v", r.cleaned)
	}

	r.service("web", webSpec)
	r.update(ctx)
	r.calls(r.four)
	r.slice("web-1", "web", webSlice)
	r.update(ctx)
	r.calls(r.four, "update default/web 1")
	r.calls(r.six)
	r.objects.removeService(types.NamespacedName{Namespace: "default", Name: "dual"})
	r.update(ctx)
	r.calls(r.four, "update default/dual 0")
	r.calls(r.six, "update default/dual 0")
	r.objects.setZone("za")
	r.update(ctx)
	r.calls(r.four, "update default/web 1")
	if ports := r.four.held[types.NamespacedName{Namespace: "default", Name: "web"}]; len(ports[0].Cluster) != 1 {
		t.Errorf("in zone za it has the endpoints %v", ports[0].Cluster)
	}
	// After the API server was away, everything may have changed.
	r.objects.replaceServices(nil)
	r.update(ctx)
	r.calls(r.four, "update default/web 0")
}

func TestFailuresAreTriedAgain(t *testing.T) {
	r, ctx := newRig(t), context.Background()
	r.service("dual", dualSpec)
	r.six.failures = []string{"no ip6tables"}
	if err := r.begin(ctx); err != nil {
		t.Fatal(err)
	}
	if r.cleaned != nil {
		t.Errorf("cleaned %v while one family does not work", r.cleaned)
	}
	<-r.retryAfter()
	r.mend(ctx)
	r.calls(r.six, "replace 1", "replace 1")
	r.calls(r.four, "replace 1")
	if fmt.Sprint(r.cleaned) != "[nftables programmed]" {
		t.Errorf("cleaned %v", r.cleaned)
	}

	r.four.failures = []string{"update", "replace", "replace"}
	r.service("web", webSpec)
	r.update(ctx)
	var pauses []time.Duration
	for r.families[0].broken {
		<-r.retryAfter()
		r.mend(ctx)
		pauses = append(pauses, r.families[0].retry)
	}
	r.calls(r.four, "update default/web 1", "replace 2", "replace 2", "replace 2")
	r.calls(r.six)
	if fmt.Sprint(pauses) != "[100ms 200ms 0s]" {
		t.Errorf("pauses %v", pauses)
	}
	if r.retryAfter() != nil {
		t.Error("nothing is broken, but something is tried again")
	}

	r.four.changed = "a chain is missing"
	r.check(ctx)
	r.calls(r.four, "replace 2")
	r.calls(r.six)
}

// A change that comes while another one is programmed counts as waiting until it is programmed itself.
func TestChangeMeanwhileWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ctx := newRig(t), context.Background()
		proxyHealth := r.families[0].health
		r.objects.changing = func(changed, int) { proxyHealth.Queued(corev1.IPv4Protocol) }
		healthyAfter := func(about string, expected bool) {
			t.Helper()
			time.Sleep(health.Timeout)
			if actual := proxyHealth.Healthy(); actual != expected {
				t.Errorf("%s: healthy %v", about, actual)
			}
		}
		r.service("web", webSpec)
		if err := r.begin(ctx); err != nil {
			t.Fatal(err)
		}
		healthyAfter("all is programmed", true)
		r.four.updating = func() {
			r.four.updating = nil
			r.service("other", "{clusterIP: 10.96.0.3, ports: [{port: 80}]}")
		}
		r.slice("web-1", "web", webSlice)
		r.update(ctx)
		r.calls(r.four, "replace 1", "update default/web 1")
		healthyAfter("a change came while another one was programmed", false)
		r.update(ctx)
		r.calls(r.four, "update default/other 1")
		healthyAfter("that is programmed, too", true)
	})
}

// Who alerts on rules that were asked for long after the last were written must not hear of changes that need no rule.
func TestChangeWithoutRulesIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ctx := newRig(t), context.Background()
		r.objects.changing = func(changed, int) { r.metrics.Queued(corev1.IPv4Protocol, corev1.IPv6Protocol) }
		r.service("web", webSpec)
		if err := r.begin(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		r.service("web", webSpec)
		r.update(ctx)
		recorder := httptest.NewRecorder()
		r.metrics.Handler("iptables").ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		for _, of := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
			times := map[string]string{}
			for line := range strings.Lines(recorder.Body.String()) {
				name, at, _ := strings.Cut(line, fmt.Sprintf("{ip_family=%q} ", of))
				times[name] = at
			}
			queued, synced := times["kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds"], times["kubeproxy_sync_proxy_rules_last_timestamp_seconds"]
			if queued == "" || queued != synced {
				t.Errorf("%s: queued at %q, synced at %q", of, queued, synced)
			}
		}
	})
}

// A health-check node port can go from one Service to another in one update, whatever their names.
func TestHealthCheckPortMoves(t *testing.T) {
	r := newRig(t)
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	checks := r.families[0].checks
	defer checks.Close()
	checks.Network, checks.ProxyHealthy = "tcp4", func() bool { return true }
	checks.Addresses = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil }
	checks.Refused = func(service types.NamespacedName, _ uint16, err error) { t.Errorf("%s: %v", service, err) }
	if err := r.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	owner, other := "a", "b"
	for range 10 {
		r.service(owner, fmt.Sprintf("{type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: %d, clusterIP: 10.96.0.1, ports: [{port: 80}]}", port))
		r.objects.removeService(types.NamespacedName{Namespace: "default", Name: other})
		r.update(context.Background())
		owner, other = other, owner
	}
}

// A Service that came and went while nothing could be programmed leaves no health check.
func TestHealthCheckOfWhatNeverWasProgrammedEnds(t *testing.T) {
	r, ctx := newRig(t), context.Background()
	checks := r.families[0].checks
	defer checks.Close()
	checks.Network, checks.ProxyHealthy = "tcp4", func() bool { return true }
	checks.Addresses = func() ([]netip.Addr, error) { return nil, nil }
	if err := r.begin(ctx); err != nil {
		t.Fatal(err)
	}
	r.four.failures = []string{"no memory"}
	r.service("lb", "{type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32000, clusterIP: 10.96.0.1, ports: [{port: 80}]}")
	r.update(ctx)
	if names := checks.Names(); len(names) != 1 {
		t.Errorf("health checks of %v", names)
	}
	r.objects.replaceServices(nil) // the API server was away
	r.update(ctx)
	if names := checks.Names(); len(names) != 0 {
		t.Errorf("health checks of %v, which are gone", names)
	}
}

// What another mode left is tried to be removed until it is, however little else happens.
func TestCleanupIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		tries := 0
		r.cleanups = map[Mode]func(context.Context) error{NFTables: func(context.Context) error {
			if tries++; tries < 3 {
				return errors.New("another program holds the lock")
			}
			return nil
		}}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.run(ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		if tries != 3 {
			t.Errorf("%d tries", tries)
		}
	})
}

func TestFirstFailureEndsTheProxy(t *testing.T) {
	r := newRig(t)
	r.four.failures = []string{"no right to"}
	if err := r.run(context.Background(), time.Hour); err == nil || err.Error() != "no right to" {
		t.Errorf("error %v", err)
	}
}

// A proxy that is told to stop finishes what it writes.
func TestStopFinishesWhatIsWritten(t *testing.T) {
	r := newRig(t)
	r.service("web", webSpec)
	r.four.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.run(ctx, time.Hour) }()
	cancel()
	close(r.four.hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(r.four.held) != 1 {
		t.Error("nothing was written")
	}
}

// Who starts a second proxy on a node hears what its taken port most likely means.
func TestAnotherProxyIsNamed(t *testing.T) {
	first, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := listen("", first.Addr().(*net.TCPAddr).AddrPort()); err == nil || !strings.Contains(err.Error(), "kube-proxy") {
		t.Errorf("error %v", err)
	}
}
