package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
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

var benchmarkSizes = []int{10, 200, 1000, 5000}

// BenchmarkNetnsFirstSync programs N Services into an empty namespace.
func BenchmarkNetnsFirstSync(b *testing.B) {
	for _, count := range benchmarkSizes {
		b.Run(fmt.Sprintf("services=%d", count), func(b *testing.B) {
			p := manyServices(count)
			for b.Loop() {
				b.StopTimer()
				inNamespace(b, func() error {
					backend, err := New(nodeOptions)
					if err != nil {
						return err
					}
					b.StartTimer()
					defer b.StopTimer()
					return backend.Replace(context.Background(), p)
				})
				b.StartTimer()
			}
		})
	}
}

// BenchmarkNetnsChange programs, among N Services, one whose endpoint is replaced, and one that comes or goes.
func BenchmarkNetnsChange(b *testing.B) {
	for _, count := range benchmarkSizes {
		p := manyServices(count)
		name := serviceName(count / 2)
		variants := make([]plan.Port, 2)
		for i := range variants {
			variants[i] = p[name][0]
			replaced := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 250, 0, byte(i + 1)}), 8080)
			variants[i].Cluster = append([]plan.Endpoint{{AddrPort: replaced}}, variants[i].Cluster[1:]...)
		}
		for about, ports := range map[string][2][]plan.Port{"endpoint": {variants[:1], variants[1:]}, "service": {nil, variants[:1]}} {
			b.Run(fmt.Sprintf("%s/services=%d", about, count), func(b *testing.B) {
				b.StopTimer()
				inNamespace(b, func() error {
					backend, err := New(nodeOptions)
					if err != nil {
						return err
					}
					if err := backend.Replace(context.Background(), p); err != nil {
						return err
					}
					b.StartTimer()
					defer b.StopTimer()
					for i := range b.N {
						if err := backend.Update(context.Background(), plan.Plan{name: ports[i%2]}); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
	}
}
