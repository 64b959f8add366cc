package proxy

import (
	"io"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkNetnsEndpointChange takes the time from an EndpointSlice's update to the first connection that the new endpoint
// answers.
func BenchmarkNetnsEndpointChange(b *testing.B) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	l := newLab(b)
	l.serveTCP(l.podA, "a", 8080)
	l.serveTCP(l.podB, "b", 8080)
	l.startProxy(IPTables)
	l.createService("web", "10.96.1.1", nil)
	l.setEndpoints("web", corev1.ProtocolTCP, podB)
	l.answers(l.client, "10.96.1.1:80", "b")
	b.ResetTimer()
	for i := range b.N {
		address, pod := podA, "a"
		if i%2 == 1 {
			address, pod = podB, "b"
		}
		// iptables-restore ends about 10 ms after its rules are in force. A lone change, as here, does not wait for that.
		b.StopTimer()
		time.Sleep(50 * time.Millisecond)
		b.StartTimer()
		l.setEndpoints("web", corev1.ProtocolTCP, address)
		for {
			answered, _, err := call(l.client, "10.96.1.1:80")
			if err != nil {
				b.Fatal(err)
			}
			if answered == pod {
				break
			}
		}
	}
}
