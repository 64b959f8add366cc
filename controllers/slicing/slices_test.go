package slicing

import (
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// The informer is never started: what it would show is put into its store by hand.
func TestOwnWritesAreKnownBeforeTheInformerShowsThem(t *testing.T) {
	factory := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	s, _, err := New(fake.NewClientset(), factory, "me", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	at := func(version string) *discoveryv1.EndpointSlice {
		slice := existing("s1=8080:a")[0]
		slice.UID, slice.ResourceVersion = "s1", version
		slice.Labels[discoveryv1.LabelManagedBy] = "me"
		return slice
	}
	version := func() string {
		t.Helper()
		found, err := s.Of("default/web")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return "none"
		}
		return found[0].ResourceVersion
	}
	show := func(slice *discoveryv1.EndpointSlice) {
		t.Helper()
		if err := s.index.Update(slice); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(step, want string) {
		t.Helper()
		if got := version(); got != want {
			t.Errorf("%s: got %s, want %s", step, got, want)
		}
	}
	s.wrote(at("5"))
	expect("created", "5")
	show(at("5"))
	if !s.seen(at("5")) {
		t.Error("the own creation is taken for another's")
	}
	s.wrote(at("9"))
	expect("updated", "9")
	if !s.seen(at("7")) {
		t.Error("what is older than the own write is taken for news")
	}
	show(at("9"))
	s.seen(at("9"))
	show(at("12"))
	if s.seen(at("12")) {
		t.Error("another's write is taken for an own one")
	}
	expect("updated by another", "12")
	s.deleted(at("12"))
	expect("deleted", "none")
	if err := s.index.Delete(at("12")); err != nil {
		t.Fatal(err)
	}
	if !s.gone(at("12")) {
		t.Error("the own deletion is taken for another's")
	}
	if len(s.written) != 0 {
		t.Errorf("still remembered: %v", s.written)
	}
}
