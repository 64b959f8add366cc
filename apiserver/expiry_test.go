package apiserver

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRevisionClock(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := new(revisionClock)
	for minute := range 100 {
		now := begun.Add(time.Duration(minute) * time.Minute)
		clock.mark(now, uint64(1000+minute))
		want := uint64(0)
		if minute >= 60 {
			want = uint64(1000 + minute - 60)
		}
		if got := clock.at(now.Add(-time.Hour)); got != want {
			t.Errorf("in minute %d the revision an hour ago was %d, want %d", minute, got, want)
		}
	}
	if kept := len(clock.marks); kept > 61 {
		t.Errorf("%d marks are kept", kept)
	}
}

func TestUnwrittenEventsExpire(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/json").CoreV1().Events("default")
	event := func(name string) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: name},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "default"},
			LastTimestamp:  metav1.NewTime(time.Now().AddDate(1, 0, 0)), // a client's clock is not believed
		}
	}
	for _, name := range []string{"old", "repeated"} {
		if _, err := client.Create(t.Context(), event(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	since := server.store.Revision()
	if _, err := client.Patch(t.Context(), "repeated", "application/merge-patch+json", []byte(`{"count":2}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Create(t.Context(), event("new"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, res := range server.resources {
		if res.Lifetime > 0 && res.StoredAs == nil {
			names = append(names, res.GroupResource().String())
			server.removeUnwritten(t.Context(), res, since)
		}
	}
	if len(names) != 1 || names[0] != "events" {
		t.Errorf("kinds with a lifetime: %v", names)
	}
	left, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(left.Items) != 2 || left.Items[0].Name != "new" || left.Items[1].Name != "repeated" {
		t.Errorf("left: %v", left.Items)
	}
}
