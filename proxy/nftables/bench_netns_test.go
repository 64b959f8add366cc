package nftables

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/kubelite/kubelite/proxy/plantest"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

var nodeOptions = backend.Options{
	Family:        corev1.IPv4Protocol,
	ClusterCIDR:   netip.MustParsePrefix("10.244.0.0/16"),
	NodeIPs:       []netip.Addr{netip.MustParseAddr("192.168.1.2")},
	MasqueradeBit: 14,
}

func serviceName(number int) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("service-%05d", number)}
}

var benchmarkSizes = []int{100, 1_000, 10_000, 50_000}

// BenchmarkNetnsFirstSync programs N Services into an empty namespace.
func BenchmarkNetnsFirstSync(b *testing.B) {
	for _, count := range benchmarkSizes {
		b.Run(fmt.Sprintf("services=%d", count), func(b *testing.B) {
			p := plantest.Uniform(count, 5)
			for b.Loop() {
				b.StopTimer()
				inNamespace(b, func() error {
					made, err := New(nodeOptions)
					if err != nil {
						return err
					}
					b.StartTimer()
					defer b.StopTimer()
					return made.Replace(background, p)
				})
				b.StartTimer()
			}
		})
	}
}

// BenchmarkNetnsTakeOver is a new process's Replace where N Services are right already.
func BenchmarkNetnsTakeOver(b *testing.B) {
	for _, count := range benchmarkSizes {
		b.Run(fmt.Sprintf("services=%d", count), func(b *testing.B) {
			p := plantest.Uniform(count, 5)
			inNamespace(b, func() error {
				first, err := New(nodeOptions)
				if err != nil {
					return err
				}
				if err := first.Replace(background, p); err != nil {
					return err
				}
				for b.Loop() {
					next, err := New(nodeOptions)
					if err != nil {
						return err
					}
					if err := next.Replace(background, p); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// BenchmarkNetnsChange programs, among N Services, one whose endpoint is replaced, and one that comes or goes.
func BenchmarkNetnsChange(b *testing.B) {
	for _, count := range benchmarkSizes {
		p := plantest.Uniform(count, 5)
		name := plantest.UniformName(count / 2)
		variants := make([]plan.Port, 2)
		for i := range variants {
			variants[i] = p[name][0]
			replaced := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 250, 0, byte(i + 1)}), 8080)
			variants[i].Cluster = append([]plan.Endpoint{{AddrPort: replaced}}, variants[i].Cluster[1:]...)
		}
		for about, ports := range map[string][2][]plan.Port{"endpoint": {variants[:1], variants[1:]}, "service": {nil, variants[:1]}} {
			b.Run(fmt.Sprintf("%s/services=%d", about, count), func(b *testing.B) {
				inNamespace(b, func() error {
					made, err := New(nodeOptions)
					if err != nil {
						return err
					}
					if err := made.Replace(background, p); err != nil {
						return err
					}
					for i := 0; b.Loop(); i++ {
						if err := made.Update(background, plan.Plan{name: ports[i%2]}); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
	}
}
