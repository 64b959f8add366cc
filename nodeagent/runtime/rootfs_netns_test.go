package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/internal/netnstest"
)

func TestNetnsManyLayersAndOddNames(t *testing.T) {
	netnstest.RequireRoot(t)
	for name, layers := range map[string]int{"few": 2, "odd: name,": 2, strings.Repeat("long", 20): 100} {
		folder := filepath.Join(t.TempDir(), name)
		var dirs []string
		for i := range layers {
			dir := filepath.Join(folder, fmt.Sprint(i))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"all", fmt.Sprint("only", i)} {
				if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, i), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			dirs = append(dirs, dir)
		}
		target := filepath.Join(folder, "root")
		if err := mountRoot(dirs, filepath.Join(folder, "own"), target); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		top, err1 := os.ReadFile(filepath.Join(target, "all"))
		bottom, err2 := os.ReadFile(filepath.Join(target, fmt.Sprint("only", layers-1)))
		if string(top) != "0" || string(bottom) != fmt.Sprint(layers-1) {
			t.Errorf("%s: top %q %v, bottom %q %v", name, top, err1, bottom, err2)
		}
		for range 2 {
			if err := unmount(target); err != nil {
				t.Error(err)
			}
		}
	}
}
