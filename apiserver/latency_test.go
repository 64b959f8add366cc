package apiserver

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkCreate measures a create, and how long after its answer (or before) a watcher has the event.
func BenchmarkCreate(b *testing.B) {
	for _, resource := range []string{"durable", "volatile"} {
		b.Run(resource, func(b *testing.B) { benchmarkCreate(b, resource == "volatile") })
	}
}

func benchmarkCreate(b *testing.B, volatile bool) {
	server := startServer(b, b.TempDir())
	client := server.client(b, "application/vnd.kubernetes.protobuf")
	create := func(name string) error {
		_, err := client.CoreV1().ConfigMaps("default").Create(b.Context(), configMap(name, nil), metav1.CreateOptions{})
		return err
	}
	watcher, err := client.CoreV1().ConfigMaps("default").Watch(b.Context(), metav1.ListOptions{LabelSelector: "a!=b"})
	if volatile {
		create = func(name string) error {
			_, err := client.CoordinationV1().Leases("default").Create(b.Context(), lease(name), metav1.CreateOptions{})
			return err
		}
		watcher, err = client.CoordinationV1().Leases("default").Watch(b.Context(), metav1.ListOptions{})
	}
	if err != nil {
		b.Fatal(err)
	}
	defer watcher.Stop()
	seen := make(chan time.Time, 1)
	go func() { // ends with the watch
		for range watcher.ResultChan() {
			seen <- time.Now()
		}
	}()
	var lag time.Duration
	i := 0
	for b.Loop() {
		if err := create(fmt.Sprintf("one-%d", i)); err != nil {
			b.Fatal(err)
		}
		answered := time.Now()
		if event := <-seen; event.After(answered) {
			lag += event.Sub(answered)
		}
		i++
	}
	b.ReportMetric(float64(lag.Microseconds())/float64(i), "µs-event-after-answer/op")
}
