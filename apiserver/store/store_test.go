package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

var (
	configMaps = schema.GroupResource{Resource: "configmaps"}
	leases     = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
)

func testOptions() Options {
	return Options{
		Codec:    NewCodec(scheme.Scheme),
		Volatile: func(r schema.GroupResource) bool { return r == leases },
	}
}

func openTest(t testing.TB, path string, options Options) *Store {
	t.Helper()
	s, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStore(t testing.TB) *Store {
	return openTest(t, filepath.Join(t.TempDir(), "store.db"), testOptions())
}

func key(resource schema.GroupResource, namespace, name string) Key {
	return Key{Resource: resource, Namespace: namespace, Name: name}
}

// object stands for any kind: the store looks at metadata only.
func object(k Key, value string) Object {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name},
		Data:       map[string]string{"value": value},
	}
}

func value(i *Item) string { return i.Object.(*corev1.ConfigMap).Data["value"] }

func must(t testing.TB) func(*Item, error) *Item {
	return func(item *Item, err error) *Item {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
}

func TestWritesOfBothKinds(t *testing.T) {
	for _, resource := range []schema.GroupResource{configMaps, leases} {
		t.Run(resource.String(), func(t *testing.T) {
			s, ctx, k := newStore(t), t.Context(), key(resource, "default", "a")
			sent := object(k, "1")
			created := must(t)(s.Create(ctx, k, sent))
			if sent.GetResourceVersion() != "" {
				t.Error("Create changed the caller's object")
			}
			if got := created.Object.GetResourceVersion(); got != strconv.FormatUint(created.Revision, 10) {
				t.Errorf("resourceVersion %s, revision %d", got, created.Revision)
			}
			if _, err := s.Create(ctx, k, sent); !errors.Is(err, ErrExists) {
				t.Errorf("second Create: %v", err)
			}
			updated := must(t)(s.Update(ctx, k, created.Revision, object(k, "2")))
			if updated.Revision <= created.Revision {
				t.Errorf("revision went from %d to %d", created.Revision, updated.Revision)
			}
			if _, err := s.Update(ctx, k, created.Revision, sent); !errors.Is(err, ErrConflict) {
				t.Errorf("stale Update: %v", err)
			}
			if _, err := s.Delete(ctx, k, created.Revision); !errors.Is(err, ErrConflict) {
				t.Errorf("stale Delete: %v", err)
			}
			must(t)(s.Update(ctx, k, 0, object(k, "3")))
			if got := value(must(t)(s.Get(k))); got != "3" {
				t.Errorf("Get: value %s", got)
			}
			deleted := must(t)(s.Delete(ctx, k, 0))
			if value(deleted) != "3" || deleted.Object.GetResourceVersion() != strconv.FormatUint(s.Revision(), 10) {
				t.Errorf("deleted item: %s at %s", value(deleted), deleted.Object.GetResourceVersion())
			}
			for what, err := range map[string]error{
				"Get":    second(s.Get(k)),
				"Update": second(s.Update(ctx, k, 0, sent)),
				"Delete": second(s.Delete(ctx, k, 0)),
			} {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("%s of a deleted object: %v", what, err)
				}
			}
		})
	}
}

func second(_ *Item, err error) error { return err }

func TestReopenKeepsDurableObjectsAndRaisesRevision(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openTest(t, path, testOptions())
	durable, volatile, gone := key(configMaps, "a", "x"), key(leases, "a", "x"), key(configMaps, "a", "y")
	must(t)(s.Create(t.Context(), gone, object(gone, "")))
	before := must(t)(s.Create(t.Context(), durable, object(durable, "kept")))
	must(t)(s.Delete(t.Context(), gone, 0))
	must(t)(s.Create(t.Context(), volatile, object(volatile, "")))
	last := s.Revision()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), gone, object(gone, "")); !errors.Is(err, ErrClosed) {
		t.Errorf("Create after Close: %v", err)
	}
	if _, err := s.Update(t.Context(), volatile, 0, object(volatile, "")); !errors.Is(err, ErrClosed) {
		t.Errorf("volatile Update after Close: %v", err)
	}

	s = openTest(t, path, testOptions())
	after := must(t)(s.Get(durable))
	if after.Revision != before.Revision || value(after) != "kept" || after.Object.GetObjectKind().GroupVersionKind().Kind != "ConfigMap" {
		t.Errorf("reopened: %+v", after)
	}
	if n := len(s.List(configMaps, "").Items()) + len(s.List(leases, "").Items()); n != 1 {
		t.Errorf("%d objects", n)
	}
	if s.Revision() <= last {
		t.Errorf("revision went from %d to %d", last, s.Revision())
	}
	for _, resource := range []schema.GroupResource{configMaps, leases} {
		if _, err := s.Watch(resource, "", last); !errors.Is(err, ErrGone) {
			t.Errorf("watch %s from before the restart: %v", resource, err)
		}
		if _, err := s.ListAt(resource, "", last); !errors.Is(err, ErrGone) {
			t.Errorf("list %s from before the restart: %v", resource, err)
		}
	}
	w, err := s.Watch(configMaps, "", s.List(configMaps, "").Revision)
	if err != nil {
		t.Fatal(err)
	}
	w.Stop()
}

func TestRevisionsPassTheBlock(t *testing.T) {
	s, k := newStore(t), key(leases, "a", "x")
	must(t)(s.Create(t.Context(), k, object(k, "")))
	for range 2*revisionBlock + 10 {
		must(t)(s.Update(t.Context(), k, 0, object(k, "")))
	}
}

// TestContextEnds cancels writes at any moment: the answer must tell whether the object is there.
func TestContextEnds(t *testing.T) {
	s := newStore(t)
	var group sync.WaitGroup
	for i := range 100 {
		k := key(configMaps, "a", fmt.Sprint(i))
		ctx, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			_, err := s.Create(ctx, k, object(k, ""))
			if _, found := s.durable.get(k); found != (err == nil) {
				t.Errorf("Create: %v, but found: %t", err, found)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		group.Go(cancel)
	}
	group.Wait()
}

func TestWithdrawnWriteIsNotDone(t *testing.T) {
	s, k := newStore(t), key(configMaps, "a", "x")
	s.durable.begin() // holds the committer up
	held := make(chan error, 1)
	go func() {
		other := key(configMaps, "a", "held")
		held <- second(s.Create(context.Background(), other, object(other, "")))
	}()
	ctx, cancel := context.WithCancel(t.Context())
	r := &request{write: &write{verb: create, key: k, object: object(k, "")}, done: make(chan struct{})}
	r.state.Store(withdrawn)
	s.committer.queue <- r
	cancel()
	if _, err := s.Create(ctx, k, object(k, "")); !errors.Is(err, context.Canceled) {
		t.Errorf("Create: %v", err)
	}
	s.durable.abandon()
	if err := <-held; err != nil {
		t.Error(err)
	}
	must(t)(s.Create(t.Context(), k, object(k, "")))
}

// TestConcurrentIncrements has many writers raise counters by compare-and-swap: no increment may be lost.
func TestConcurrentIncrements(t *testing.T) {
	const writers, increments, counters = 8, 25, 3
	s := newStore(t)
	keys := make([]Key, counters)
	for i := range keys {
		resource := configMaps
		if i == 0 {
			resource = leases
		}
		keys[i] = key(resource, "a", fmt.Sprint(i))
		must(t)(s.Create(t.Context(), keys[i], object(keys[i], "0")))
	}
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range increments * counters {
				for {
					item, err := s.Get(keys[i%counters])
					if err != nil {
						t.Error(err)
						return
					}
					n, _ := strconv.Atoi(value(item))
					_, err = s.Update(t.Context(), item.Key, item.Revision, object(item.Key, strconv.Itoa(n+1)))
					if err == nil {
						break
					}
					if !errors.Is(err, ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	for _, k := range keys {
		if got := value(must(t)(s.Get(k))); got != strconv.Itoa(writers*increments) {
			t.Errorf("%v: %s", k, got)
		}
	}
}

func TestEncodedOnce(t *testing.T) {
	item := &Item{Object: object(Key{Name: "x"}, "")}
	var mu sync.Mutex
	calls := map[string]int{}
	var group sync.WaitGroup
	for i := range 20 {
		mediaType := []string{"json", "protobuf"}[i%2]
		group.Go(func() {
			data, err := item.Encoded(mediaType, func(Object) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				calls[mediaType]++
				return []byte(mediaType), nil
			})
			if err != nil || string(data) != mediaType {
				t.Errorf("%s: %s, %v", mediaType, data, err)
			}
		})
	}
	group.Wait()
	if calls["json"] != 1 || calls["protobuf"] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

func TestSnapshotsArePagedAndKept(t *testing.T) {
	s := newStore(t)
	for _, id := range []string{"b/2", "a/1", "b/1", "b/3", "c/1", "a-b/1"} {
		namespace, name, _ := strings.Cut(id, "/")
		k := key(configMaps, namespace, name)
		must(t)(s.Create(t.Context(), k, object(k, "")))
	}
	list := func(items []*Item) string {
		var ids []string
		for _, i := range items {
			ids = append(ids, i.Key.Namespace+"/"+i.Key.Name)
		}
		return strings.Join(ids, " ")
	}
	all := s.List(configMaps, "")
	if got := list(all.Items()); got != "a/1 a-b/1 b/1 b/2 b/3 c/1" {
		t.Errorf("all: %s", got)
	}
	page, remaining := all.Page(Key{}, 2)
	if list(page) != "a/1 a-b/1" || remaining != 4 {
		t.Errorf("first page: %s, %d remain", list(page), remaining)
	}
	must(t)(s.Delete(t.Context(), key(configMaps, "b", "2"), 0))
	if got := list(s.List(configMaps, "b").Items()); got != "b/1 b/3" {
		t.Errorf("namespace b: %s", got)
	}
	again, err := s.ListAt(configMaps, "", all.Revision)
	if err != nil {
		t.Fatal(err)
	}
	page, remaining = again.Page(page[1].Key, 10)
	if list(page) != "b/1 b/2 b/3 c/1" || remaining != 0 {
		t.Errorf("second page: %s, %d remain", list(page), remaining)
	}
	page, remaining = s.List(configMaps, "b").Page(Key{Namespace: "b", Name: "1"}, 1)
	if list(page) != "b/3" || remaining != 0 {
		t.Errorf("page of b: %s, %d remain", list(page), remaining)
	}
	for i := range defaultSnapshots {
		s.kept.put(leases, uint64(i), nil)
	}
	if _, err := s.ListAt(configMaps, "", all.Revision); !errors.Is(err, ErrGone) {
		t.Errorf("forgotten snapshot: %v", err)
	}
	if _, err := s.ListAt(configMaps, "", s.Revision()+1); !errors.Is(err, ErrFuture) {
		t.Errorf("future snapshot: %v", err)
	}
}
