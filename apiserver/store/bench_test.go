package store

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// BenchmarkCreate is creates by 64 concurrent writers, acknowledged.
func BenchmarkCreate(b *testing.B) {
	for _, resource := range []schema.GroupResource{configMaps, leases} {
		b.Run(resource.String(), func(b *testing.B) {
			s := newStore(b)
			var next atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					k := key(resource, "default", fmt.Sprint(next.Add(1)))
					if _, err := s.Create(b.Context(), k, object(k, "value")); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// BenchmarkOneWriter is the latency of a single acknowledged write.
func BenchmarkOneWriter(b *testing.B) {
	s, k := newStore(b), key(configMaps, "default", "x")
	must(b)(s.Create(b.Context(), k, object(k, "")))
	for b.Loop() {
		must(b)(s.Update(b.Context(), k, 0, object(k, "value")))
	}
}

// BenchmarkFanOut is one change delivered to 100 watchers.
func BenchmarkFanOut(b *testing.B) {
	s, k := newStore(b), key(leases, "default", "x")
	must(b)(s.Create(b.Context(), k, object(k, "")))
	const watchers = 100
	var received sync.WaitGroup
	for range watchers {
		w := watchTest(b, s, leases, "", 0)
		go func() {
			for range w.Events() {
				received.Done()
			}
		}()
	}
	for b.Loop() {
		received.Add(watchers)
		must(b)(s.Update(b.Context(), k, 0, object(k, "value")))
		received.Wait()
	}
}

// BenchmarkList is a list of 10,000 objects, joined from encoded bytes.
func BenchmarkList(b *testing.B) {
	s := newStore(b)
	for i := range 10_000 {
		k := key(leases, "default", fmt.Sprint(i))
		must(b)(s.Create(b.Context(), k, object(k, "value")))
	}
	encode := func(o Object) ([]byte, error) { return json.Marshal(o) }
	var size int
	for b.Loop() {
		size = 0
		for item := range s.List(leases, "").All() {
			data, err := item.Encoded("application/json", encode)
			if err != nil {
				b.Fatal(err)
			}
			size += len(data)
		}
	}
	b.SetBytes(int64(size))
}
