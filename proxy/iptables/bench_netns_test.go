package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// manyServices are Services of one port and five endpoints each.
func manyServices(count int) plan.Plan {
	p := plan.Plan{}
	for number := range count {
		port := plan.Port{
			Name:         plan.PortName{NamespacedName: serviceName(number)},
			Protocol:     corev1.ProtocolTCP,
			ClusterIP:    netip.AddrFrom4([4]byte{10, 100, byte(number >> 8), byte(number)}),
			Port:         80,
			HasEndpoints: true,
		}
		for endpoint := range 5 {
			address := netip.AddrFrom4([4]byte{10, byte(200 + endpoint), byte(number >> 8), byte(number)})
			port.Cluster = append(port.Cluster, plan.Endpoint{AddrPort: netip.AddrPortFrom(address, 8080)})
		}
		p[serviceName(number)] = []plan.Port{port}
	}
	return p
}

// BenchmarkNetns is run with -benchtime=1x: it reports the first full sync, the median and the worst of 50 changes of each kind
// and the median of their processor time, a look
// where nothing changed, one at everything, and the memory that the backend keeps, without the plan itself.
func BenchmarkNetns(b *testing.B) {
	found, err := tools(corev1.IPv4Protocol)
	if err != nil {
		b.Fatal(err)
	}
	for _, one := range found {
		for _, count := range []int{10, 1000, 5000, 10000} {
			b.Run(fmt.Sprintf("%s/services=%d", one.prefix, count), func(b *testing.B) {
				for b.Loop() {
					inNamespace(b, func() error { return benchmark(b, one, count) })
				}
			})
		}
	}
}

func benchmark(b *testing.B, one tool, count int) error {
	ctx, p := context.Background(), manyServices(count)
	before := heap()
	backend, err := newBackend(nodeOptions, one)
	if err != nil {
		return err
	}
	started, cpu := time.Now(), processorTime()
	if err := backend.Replace(ctx, p); err != nil {
		return err
	}
	b.ReportMetric(time.Since(started).Seconds(), "full-s")
	b.ReportMetric((processorTime() - cpu).Seconds(), "full-cpu-s")
	b.ReportMetric(float64(heap()-before)/(1<<20), "heap-MiB")
	for _, metric := range []string{"look-ms", "quick-look-ms"} {
		started = time.Now()
		if found, err := backend.Difference(ctx); found != "" || err != nil {
			return fmt.Errorf("difference %q: %w", found, err)
		}
		b.ReportMetric(milliseconds(time.Since(started)), metric)
	}
	took, worked := map[string][]time.Duration{}, map[string][]time.Duration{}
	change := func(kind string, name int, ports []plan.Port) error {
		started, cpu := time.Now(), processorTime()
		err := backend.Update(ctx, plan.Plan{serviceName(name): ports})
		took[kind] = append(took[kind], time.Since(started))
		worked[kind] = append(worked[kind], processorTime()-cpu)
		return err
	}
	for i := range 50 {
		name := (i*7919 + 1) % count
		ports := p[serviceName(name)]
		replaced := ports[0]
		address := netip.AddrFrom4([4]byte{10, 250, 0, byte(i)})
		replaced.Cluster = append([]plan.Endpoint{{AddrPort: netip.AddrPortFrom(address, 8080)}}, replaced.Cluster[1:]...)
		if err := change("endpoint", name, []plan.Port{replaced}); err != nil {
			return err
		}
		if err := change("removed", name, nil); err != nil {
			return err
		}
		if err := change("added", name, ports); err != nil {
			return err
		}
	}
	for kind, all := range took {
		slices.Sort(all)
		b.ReportMetric(milliseconds(all[len(all)/2]), kind+"-median-ms")
		b.ReportMetric(milliseconds(all[len(all)-1]), kind+"-worst-ms")
		slices.Sort(worked[kind])
		b.ReportMetric(milliseconds(worked[kind][len(all)/2]), kind+"-cpu-ms")
	}
	runtime.KeepAlive(p)
	return nil
}

// processorTime is what this process and the programs that it ran have used, in the kernel, too. On a busy machine it says more than
// a clock.
func processorTime() time.Duration {
	var all time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if err := unix.Getrusage(who, &usage); err != nil {
			panic(err)
		}
		all += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return all
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// heap is what is in use after a garbage collection, in bytes.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
