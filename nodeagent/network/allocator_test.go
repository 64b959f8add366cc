package network

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T, folder, prefix string) *allocator {
	t.Helper()
	a, err := openAllocator(folder, netip.MustParsePrefix(prefix))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func allocate(t *testing.T, a *allocator, owner, want string) {
	t.Helper()
	got, err := a.allocate(owner)
	if err != nil || got.String() != want {
		t.Errorf("address of %s: %s %v, want %s", owner, got, err, want)
	}
}

func TestAllocatorIsNextFit(t *testing.T) {
	folder := t.TempDir()
	a := open(t, folder, "10.244.0.0/29") // .2 to .6
	allocate(t, a, "a", "10.244.0.2")
	allocate(t, a, "b", "10.244.0.3")
	allocate(t, a, "a", "10.244.0.2") // the same Pod again
	if err := a.release("b"); err != nil {
		t.Fatal(err)
	}
	allocate(t, a, "c", "10.244.0.4") // not b's

	a = open(t, folder, "10.244.0.0/29") // the agent has been restarted
	allocate(t, a, "d", "10.244.0.5")
	allocate(t, a, "a", "10.244.0.2")
	allocate(t, a, "e", "10.244.0.6")
	allocate(t, a, "f", "10.244.0.3") // round, over what is taken
	if got, err := a.allocate("g"); !errors.Is(err, ErrNoFreeAddress) {
		t.Errorf("full range gives %s %v", got, err)
	}
	if err := a.reclaim(map[string]bool{"a": true, "f": true}); err != nil {
		t.Fatal(err)
	}
	allocate(t, a, "h", "10.244.0.4")
	for range 2 {
		if err := a.release("nobody"); err != nil {
			t.Error(err)
		}
	}
}

func TestAllocatorAfterACrash(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{
		"10.244.0.2": "", // made, its owner not written yet; the cursor neither
		"10.244.0.9": "x", lastFile: "10.245.0.1", "." + lastFile: "10.244", "10.244.0.77": "out of the range",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := open(t, folder, "10.244.0.0/28")
	allocate(t, a, "a", "10.244.0.3")
	if err := a.reclaim(map[string]bool{"a": true}); err != nil {
		t.Fatal(err)
	}
	if len(a.owners) != 1 {
		t.Errorf("owners %v", a.owners)
	}
}
