package apiserver

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func TestOwnServiceComesBack(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/json")
	services, slices := client.CoreV1().Services("default"), client.DiscoveryV1().EndpointSlices("default")
	before, err := services.Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []struct {
		watch  func() (watch.Interface, error)
		delete func() error
	}{
		{func() (watch.Interface, error) {
			return services.Watch(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion})
		}, func() error { return services.Delete(t.Context(), "kubernetes", metav1.DeleteOptions{}) }},
		{func() (watch.Interface, error) {
			return slices.Watch(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion, FieldSelector: "metadata.name=kubernetes"})
		}, func() error { return slices.Delete(t.Context(), "kubernetes", metav1.DeleteOptions{}) }},
	} {
		watcher, err := again.watch()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.delete(); err != nil {
			t.Fatal(err)
		}
		for _, what := nextEvent(t, watcher); what != "DELETED kubernetes"; _, what = nextEvent(t, watcher) {
			t.Log("before the deletion:", what)
		}
		if _, what := nextEvent(t, watcher); what != "ADDED kubernetes" {
			t.Errorf("after the deletion: %s", what)
		}
		watcher.Stop()
	}
	after, err := services.Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || after.UID == before.UID || after.Spec.ClusterIP != before.Spec.ClusterIP {
		t.Errorf("made again: %v, %v", after, err)
	}
}
