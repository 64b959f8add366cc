package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func watchTest(t testing.TB, s *Store, resource schema.GroupResource, namespace string, from uint64) *Watcher {
	t.Helper()
	w, err := s.Watch(resource, namespace, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

func TestWatchResumes(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	a, b := key(configMaps, "a", "x"), key(configMaps, "b", "x")
	start := s.Revision()
	created := must(t)(s.Create(ctx, a, object(a, "1")))
	must(t)(s.Create(ctx, b, object(b, "1")))
	updated := must(t)(s.Update(ctx, a, 0, object(a, "2")))
	deleted := must(t)(s.Delete(ctx, a, 0))
	tests := []struct {
		name, namespace string
		from            uint64
		want            []string
	}{
		{"all", "", start, []string{"ADDED a", "ADDED b", "MODIFIED a", "DELETED a"}},
		{"namespace", "a", start, []string{"ADDED a", "MODIFIED a", "DELETED a"}},
		{"middle", "", updated.Revision, []string{"DELETED a"}},
		{"now", "", 0, nil},
		{"newest", "", s.Revision(), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := watchTest(t, s, configMaps, test.namespace, test.from)
			for _, want := range test.want {
				event := <-w.Events()
				if got := fmt.Sprintf("%s %s", event.Type, event.Item.Key.Namespace); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if event.Type == Modified && event.Previous != created || event.Type == Deleted && event.Item != deleted {
					t.Errorf("event %+v", event)
				}
			}
			if len(w.Events()) > 0 {
				t.Errorf("more events")
			}
		})
	}
	if _, err := s.Watch(configMaps, "", s.Revision()+1); !errors.Is(err, ErrFuture) {
		t.Errorf("future: %v", err)
	}
}

func TestSlowWatcherIsCutOff(t *testing.T) {
	options := testOptions()
	options.History = 100
	s := openTest(t, filepath.Join(t.TempDir(), "store.db"), options)
	k := key(leases, "a", "x")
	from := s.Revision()
	slow := watchTest(t, s, leases, "", 0)
	must(t)(s.Create(t.Context(), k, object(k, "")))
	for range 1000 {
		must(t)(s.Update(t.Context(), k, 0, object(k, "")))
	}
	received := 0
	for range slow.Events() {
		received++
	}
	if !errors.Is(slow.Err(), ErrSlow) || received > 2*watchBuffer+options.History {
		t.Errorf("after %d events: %v", received, slow.Err())
	}
	if _, err := s.Watch(leases, "", from); !errors.Is(err, ErrGone) {
		t.Errorf("resume: %v", err)
	}
}

func TestWatchersEndWithReason(t *testing.T) {
	s := newStore(t)
	stopped, open := watchTest(t, s, configMaps, "", 0), watchTest(t, s, configMaps, "", 0)
	stopped.Stop()
	stopped.Stop()
	if _, more := <-stopped.Events(); more || stopped.Err() != nil {
		t.Errorf("stopped: %v", stopped.Err())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, more := <-open.Events(); more || !errors.Is(open.Err(), ErrClosed) {
		t.Errorf("closed: %v", open.Err())
	}
	late := watchTest(t, s, leases, "", 0)
	if _, more := <-late.Events(); more || !errors.Is(late.Err(), ErrClosed) {
		t.Errorf("opened after Close: %v", late.Err())
	}
}

func TestBookmark(t *testing.T) {
	s := newStore(t)
	w := watchTest(t, s, configMaps, "a", 0)
	// Other resources and namespaces move the bookmark on; changes on their way hold it back.
	k := key(leases, "a", "x")
	other := must(t)(s.Create(t.Context(), k, object(k, "")))
	if revision, ok := w.Bookmark(); !ok || revision != other.Revision {
		t.Errorf("bookmark %d %t, want %d", revision, ok, other.Revision)
	}
	k = key(configMaps, "a", "x")
	created := must(t)(s.Create(t.Context(), k, object(k, "")))
	if revision, ok := w.Bookmark(); ok {
		t.Errorf("bookmark %d while an event is on its way", revision)
	}
	<-w.Events()
	for {
		if revision, ok := w.Bookmark(); ok {
			if revision != created.Revision {
				t.Errorf("bookmark %d, want %d", revision, created.Revision)
			}
			break
		}
	}
}

// TestListAndWatchAgree has random writers, and clients that list at any moment and follow from there. Each must
// see revisions rise, and end with exactly what the store holds.
func TestListAndWatchAgree(t *testing.T) {
	s := newStore(t)
	const clients, writers, writes = 4, 4, 150
	done := map[schema.GroupResource]Key{
		configMaps: key(configMaps, "z", "done"),
		leases:     key(leases, "z", "done"),
	}
	var group, writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range writes {
				resource := []schema.GroupResource{configMaps, leases}[random.IntN(2)]
				k := key(resource, string('a'+rune(random.IntN(2))), fmt.Sprint(random.IntN(10)))
				var err error
				switch random.IntN(3) {
				case 0:
					_, err = s.Create(t.Context(), k, object(k, ""))
				case 1:
					_, err = s.Update(t.Context(), k, 0, object(k, fmt.Sprint(random.Int())))
				case 2:
					_, err = s.Delete(t.Context(), k, 0)
				}
				if err != nil && !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	for _, k := range done {
		for range clients {
			group.Go(func() { followUntil(t, s, k) })
		}
	}
	writing.Wait()
	for _, k := range done {
		must(t)(s.Create(t.Context(), k, object(k, "")))
	}
	group.Wait()
}

func followUntil(t *testing.T, s *Store, done Key) {
	snapshot := s.List(done.Resource, "")
	known := map[Key]uint64{}
	for item := range snapshot.All() {
		known[item.Key] = item.Revision
	}
	w, err := s.Watch(done.Resource, "", snapshot.Revision)
	if err != nil {
		t.Error(err)
		return
	}
	defer w.Stop()
	last := snapshot.Revision
	for event := range w.Events() {
		if event.Revision <= last {
			t.Errorf("revision %d after %d", event.Revision, last)
		}
		last = event.Revision
		_, exists := known[event.Item.Key]
		if exists != (event.Type != Added) {
			t.Errorf("%s of %v, known: %t", event.Type, event.Item.Key, exists)
		}
		if event.Type == Deleted {
			delete(known, event.Item.Key)
		} else {
			known[event.Item.Key] = event.Revision
		}
		if event.Item.Key == done {
			break
		}
	}
	final := map[Key]uint64{}
	for item := range s.List(done.Resource, "").All() {
		final[item.Key] = item.Revision
	}
	if !maps.Equal(known, final) {
		t.Errorf("followed %v, store has %v", known, final)
	}
}
