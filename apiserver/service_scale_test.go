package apiserver

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// scaleWriters is how many clients write at the same time.
const scaleWriters = 32

// BenchmarkServiceScale makes 10,000 Services and an EndpointSlice of five endpoints for each, and lists them: what the proxy's
// benchmark asks of the server. One iteration is all of it.
func BenchmarkServiceScale(b *testing.B) {
	const count = 10000
	for b.Loop() {
		b.StopTimer()
		server := startServer(b, b.TempDir())
		client := server.client(b, "application/vnd.kubernetes.protobuf")
		before := heapInUse()
		b.StartTimer()
		b.ReportMetric(perSecond(b, count, func(ctx context.Context, i int) error { return createScaleService(ctx, client, i) }), "services/s")
		b.ReportMetric(perSecond(b, count, func(ctx context.Context, i int) error { return createScaleSlice(ctx, client, i) }), "slices/s")
		b.ReportMetric(float64(heapInUse()-before)/(1<<20), "MiB-held")
		start := time.Now()
		if _, err := client.CoreV1().Services("").List(b.Context(), metav1.ListOptions{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms-list-services")
		start = time.Now()
		if _, err := client.DiscoveryV1().EndpointSlices("").List(b.Context(), metav1.ListOptions{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms-list-slices")
		b.StopTimer()
		server.stop()
		b.StartTimer()
	}
}

// heapInUse is the number of bytes that live objects take.
func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// perSecond does all numbers below count and returns how many were done a second.
func perSecond(b *testing.B, count int, do func(ctx context.Context, i int) error) float64 {
	start := time.Now()
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(scaleWriters)
	for i := range count {
		group.Go(func() error { return do(ctx, i) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return float64(count) / time.Since(start).Seconds()
}

func createScaleService(ctx context.Context, client kubernetes.Interface, i int) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i)}}
	service.Spec = corev1.ServiceSpec{
		Selector: map[string]string{"app": service.Name},
		Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}
	_, err := client.CoreV1().Services("default").Create(ctx, service, metav1.CreateOptions{})
	return err
}

func createScaleSlice(ctx context.Context, client kubernetes.Interface, i int) error {
	service := fmt.Sprintf("web-%d", i)
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}
	slice.Name, slice.Labels = service+"-x", map[string]string{discoveryv1.LabelServiceName: service}
	slice.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080)}}
	for j := range 5 {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.244.%d.%d", i/50%250, i%50*5+j)},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false)},
			NodeName:   ptr.To("node-1"),
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: fmt.Sprintf("%s-%d", service, j)},
		})
	}
	_, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
	return err
}
