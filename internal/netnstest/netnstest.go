// Package netnstest gives kernel tests what they need: the right to be root, and network namespaces of their own. It is the
// only test code that deals with threads and namespaces.
package netnstest

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"testing"

	"github.com/kubelite/kubelite/internal/netns"
)

// RequireRoot skips the test if it is not run by root; where root is expected (KUBELITE_REQUIRE_ROOT=1, as `make test` sets it)
// it fails instead.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("KUBELITE_REQUIRE_ROOT") != "" {
		t.Fatal("this test needs root, and KUBELITE_REQUIRE_ROOT says that it is expected")
	}
	t.Skip("this test needs root")
}

// New makes a network namespace that is removed when the test ends, and returns its path.
func New(t testing.TB) string {
	t.Helper()
	RequireRoot(t)
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	name := "test-" + hex.EncodeToString(random)
	path, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Delete(name); err != nil {
			t.Error(err)
		}
	})
	return path
}
