package nftables

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
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

// BenchmarkNetnsConnect connects from a Pod to another: directly, through the only Service, and through the last of 10,000. One after the
// other, so that what else the machine does is the same for all; the medians are what counts.
func BenchmarkNetnsConnect(b *testing.B) {
	ways := []*connectWay{newConnectWay(b, 0), newConnectWay(b, 1), newConnectWay(b, 10_000)}
	for b.Loop() {
		for _, way := range ways {
			if err := netns.Do(way.lab.a, way.connect); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, way := range ways {
		slices.Sort(way.took)
		b.ReportMetric(float64(way.took[len(way.took)/2].Microseconds()), fmt.Sprintf("µs-with-%d", way.services))
	}
}

// connectWay is a way to Pod b in a lab with a number of Services; with 0, directly.
type connectWay struct {
	services int
	lab      *lab
	address  string
	took     []time.Duration
}

func newConnectWay(b *testing.B, services int) *connectWay {
	way := &connectWay{services: services, lab: newLab(b), address: "10.244.0.3:8080"}
	if services == 0 {
		return way
	}
	p := plantest.Uniform(services, 5)
	last := p[plantest.UniformName(services-1)][0]
	for i := range last.Cluster {
		last.Cluster[i] = plan.Endpoint{AddrPort: netip.MustParseAddrPort(way.address)}
	}
	way.lab.program(nil, p)
	way.address = netip.AddrPortFrom(last.ClusterIP, last.Port).String()
	return way
}

func (w *connectWay) connect() error {
	started := time.Now()
	dialer := net.Dialer{FallbackDelay: -1}
	conn, err := dialer.DialContext(background, "tcp4", w.address)
	if err != nil {
		return err
	}
	w.took = append(w.took, time.Since(started))
	// Closed without waiting: thousands of ports would be in use for a minute each.
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return conn.Close()
}
