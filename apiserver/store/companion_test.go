package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestCompanions: what is written along with another write comes and goes with it, on disk and in the watchers' eyes.
func TestCompanions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	secrets := schema.GroupResource{Resource: "secrets"}
	main, first, second := key(configMaps, "default", "a"), key(secrets, "", "one"), key(secrets, "", "two")
	watcher, err := s.Watch(secrets, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	ctx := t.Context()
	created := must(t)(s.Create(ctx, main, object(main, "1"), Companion{first, object(first, "1")}))
	if _, err := s.Create(ctx, main, object(main, "1"), Companion{second, object(second, "1")}); !errors.Is(err, ErrExists) {
		t.Errorf("second create: %v", err)
	}
	if _, err := s.Update(ctx, main, created.Revision+100, object(main, "1"), Companion{first, nil}); !errors.Is(err, ErrConflict) {
		t.Errorf("stale update: %v", err)
	}
	must(t)(s.Update(ctx, main, created.Revision, object(main, "2"), Companion{first, object(first, "2")}, Companion{second, object(second, "2")}))
	must(t)(s.Update(ctx, main, 0, object(main, "3"), Companion{first, nil}, Companion{key(secrets, "", "none"), nil}))
	var seen []string
	for len(seen) < 4 {
		event := <-watcher.Events()
		seen = append(seen, fmt.Sprint(event.Type, " ", event.Item.Key.Name, " ", value(event.Item)))
	}
	if want := []string{"ADDED one 1", "MODIFIED one 2", "ADDED two 2", "DELETED one 2"}; !slices.Equal(seen, want) {
		t.Errorf("watched %q, want %q", seen, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, path, testOptions())
	if item := must(t)(s.Get(second)); value(item) != "2" {
		t.Errorf("after a restart: %v", item)
	}
	if _, err := s.Get(first); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed companion: %v", err)
	}
	must(t)(s.Delete(ctx, main, 0, Companion{second, nil}))
	if items := s.List(secrets, "").Items(); len(items) > 0 {
		t.Errorf("left over: %v", items)
	}
}

func TestVolatileCompanions(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	durable, volatile := key(configMaps, "default", "a"), key(leases, "default", "a")
	if _, err := s.Create(ctx, durable, object(durable, ""), Companion{volatile, object(volatile, "")}); !errors.Is(err, errVolatileCompany) {
		t.Errorf("volatile companion: %v", err)
	}
	if _, err := s.Create(ctx, volatile, object(volatile, ""), Companion{durable, object(durable, "")}); !errors.Is(err, errVolatileCompany) {
		t.Errorf("companion of a volatile object: %v", err)
	}
	if _, err := s.Get(durable); !errors.Is(err, ErrNotFound) {
		t.Errorf("written all the same: %v", err)
	}
}
