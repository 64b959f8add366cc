package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubelite/kubelite/proxy/plan"
)

// A slice may change its Service, its Service may come later or never, and everything may be listed again: what is programmed by
// changes is what is planned from scratch.
func TestRandomChangesEndAsFromScratch(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := newRig(t)
		services, endpointSlices := serviceReader(r.objects), sliceReader(r.objects)
		newReader(services)
		newReader(endpointSlices)
		if err := r.begin(context.Background()); err != nil {
			t.Fatal(err)
		}
		currentServices, currentSlices := map[string]*corev1.Service{}, map[string]*discoveryv1.EndpointSlice{}
		for range 60 {
			switch name := fmt.Sprint("o", random.IntN(4)); random.IntN(6) {
			case 0, 1:
				service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name},
					Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: random.Int32N(9) + 1}}}}
				currentServices[name] = service
				check(t, services.Update(service))
			case 2:
				if service := currentServices[name]; service != nil {
					delete(currentServices, name)
					check(t, services.Delete(service))
				}
			case 3:
				slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: new(int32)}},
					ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprint("o", random.IntN(4))}},
					Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{fmt.Sprint("10.244.0.", random.IntN(200))}}}}
				currentSlices[name] = slice
				check(t, endpointSlices.Update(slice))
			case 4:
				if slice := currentSlices[name]; slice != nil {
					delete(currentSlices, name)
					check(t, endpointSlices.Delete(slice))
				}
			case 5:
				delete(currentServices, name)
				delete(currentSlices, name)
				check(t, services.Replace(anys(currentServices), ""))
				check(t, endpointSlices.Replace(anys(currentSlices), ""))
			}
			if random.IntN(3) == 0 {
				r.update(context.Background())
			}
		}
		r.update(context.Background())
		expected := plan.Build(values(currentServices), values(currentSlices), plan.Node{Name: "node-1"})
		if !reflect.DeepEqual(normal(r.four.held), normal(expected)) {
			t.Fatalf("seed %d: %v\nexpected %v", seed, r.four.held, expected)
		}
	}
}

// normal tells an empty plan from none no longer.
func normal(p plan.Plan) plan.Plan {
	if len(p) == 0 {
		return nil
	}
	return p
}

func values[T any](objects map[string]T) []T {
	all := make([]T, 0, len(objects))
	for _, object := range objects {
		all = append(all, object)
	}
	return all
}

func anys[T any](objects map[string]T) []any {
	var all []any
	for _, object := range values(objects) {
		all = append(all, object)
	}
	return all
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// One change costs the same however many Services there are.
func BenchmarkOneChangeAmong10000(b *testing.B) {
	r := newRig(b)
	for i := range 10000 {
		name := fmt.Sprint("s", i)
		r.objects.setService(plan.ReadService(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name},
			Spec: corev1.ServiceSpec{ClusterIP: fmt.Sprintf("10.96.%d.%d", i/250, i%250), Ports: []corev1.ServicePort{{Port: 80}}}}))
		r.objects.setSlice(benchSlice(name, 0))
	}
	if err := r.begin(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r.objects.setSlice(benchSlice("s77", 1+i%2))
		r.update(context.Background())
	}
}

func benchSlice(service string, last int) *plan.SliceInput {
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: new(int32)}},
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
	for i := range 5 {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.%d", last, i)}})
	}
	return plan.ReadSlice(slice)
}

func TestWatchedNode(t *testing.T) {
	var seen []string
	r := newReader(nodeReader("node-1", func(node *corev1.Node) {
		if node == nil {
			seen = append(seen, "none")
			return
		}
		seen = append(seen, node.Name+" "+node.Labels[corev1.LabelTopologyZone])
	}))
	node := func(name, zone string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	}
	check(t, r.Replace([]any{node("node-2", "zb"), node("node-1", "za")}, ""))
	check(t, r.Update(node("node-2", "zc")))
	check(t, r.Update(node("node-1", "zb")))
	check(t, r.Delete(node("node-2", "")))
	check(t, r.Delete(node("node-1", "")))
	if fmt.Sprint(seen) != "[node-1 za node-1 zb none]" {
		t.Error(seen)
	}
	if err := r.Update(&corev1.Pod{}); err == nil {
		t.Error("a Pod is no Node")
	}
}

// What happened before the proxy started is not measured, nor what is only listed.
func TestTriggerTimes(t *testing.T) {
	o := newObjects(plan.Node{}, func(changed, int) {})
	slice := func(at time.Time) *plan.SliceInput {
		return plan.ReadSlice(&discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, ObjectMeta: metav1.ObjectMeta{
			Name: "a", Labels: map[string]string{discoveryv1.LabelServiceName: "b"},
			Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: at.Format(time.RFC3339Nano)}}})
	}
	later := o.started.Add(time.Second).UTC()
	o.setSlice(slice(o.started.Add(-time.Second)))
	o.replaceSlices([]*plan.SliceInput{slice(later)})
	o.setSlice(slice(later))
	if taken := o.take(); len(taken.triggered) != 1 || !taken.triggered[0].Equal(later) || taken.slices != 3 || !taken.all {
		t.Errorf("%+v", taken)
	}
}

// The counters mean what kube-proxy's do: one for each Service and slice that the API server told of, of a list too.
func TestChangesCountObjects(t *testing.T) {
	counts := map[changed]int{}
	o := newObjects(plan.Node{}, func(of changed, count int) { counts[of] += count })
	service := func(name string) *plan.ServiceInput {
		return plan.ReadService(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}})
	}
	expect := func(about string, services, slices int) {
		t.Helper()
		if taken := o.take(); taken.services != services || taken.slices != slices || counts[serviceChanged] != services || counts[sliceChanged] != slices {
			t.Errorf("%s: %d Services and %d slices are pending, %v are told of; expected %d and %d", about, taken.services, taken.slices, counts, services, slices)
		}
		clear(counts)
	}
	o.replaceServices([]*plan.ServiceInput{service("x"), service("y"), service("z")})
	o.replaceSlices([]*plan.SliceInput{benchSlice("x", 0), benchSlice("y", 0)})
	expect("the first list", 3, 2)
	o.setService(service("x"))
	o.removeService(service("y").Name)
	o.setSlice(benchSlice("x", 1))
	o.removeSlice(benchSlice("y", 0).Name)
	expect("four events", 2, 2)
	o.replaceServices([]*plan.ServiceInput{service("x"), service("w")})
	o.replaceSlices([]*plan.SliceInput{benchSlice("w", 0)})
	expect("another list, with one object less", 3, 2)
	o.setZone("za")
	expect("the node", 0, 0)
}
