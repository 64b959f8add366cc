package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLookupUser(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("real-passwd", "# accounts\nroot:x:0:0::/root:/bin/sh\nbroken\nwww:x:33:34::/:\n101:x:900:901::/:\n")
	write("group", "root:x:0:\ndaemon:x:1:root,www\nstudents:x:2000:www\n")
	// an absolute link, as images have it: below the image's root
	if err := os.Symlink("/etc/real-passwd", filepath.Join(root, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		user     string
		extra    []uint32
		uid, gid uint32
		groups   []uint32
		err      string
	}{
		{user: "", groups: []uint32{0, 1}},
		{user: "www", uid: 33, gid: 34, groups: []uint32{1, 34, 2000}},
		{user: "33", uid: 33, gid: 34, groups: []uint32{1, 34, 2000}},
		{user: "33", extra: []uint32{7, 34}, uid: 33, gid: 34, groups: []uint32{1, 7, 34, 2000}},
		{user: "www:students", uid: 33, gid: 2000, groups: []uint32{2000}},
		{user: "www:5", uid: 33, gid: 5, groups: []uint32{5}},
		{user: "1234", uid: 1234, groups: []uint32{0}},
		{user: "1234:5678", uid: 1234, gid: 5678, groups: []uint32{5678}},
		{user: "101", uid: 900, gid: 901, groups: []uint32{901}}, // a name made of digits is a name
		{user: "nobody", err: "unable to find user nobody: no matching entries in passwd file"},
		{user: "www:nobody", err: "unable to find group nobody: no matching entries in group file"},
		{user: "-1", err: "unable to find user -1"},
	} {
		got, err := lookupUser(root, test.user, test.extra)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("user %q: %v", test.user, err)
			}
			continue
		}
		if err != nil || got.UID != test.uid || got.GID != test.gid || !slices.Equal(got.AdditionalGids, test.groups) {
			t.Errorf("user %q: %+v %v", test.user, got, err)
		}
	}
	if got, err := lookupUser(t.TempDir(), "12", nil); err != nil || got.UID != 12 {
		t.Errorf("image without accounts: %+v %v", got, err)
	}
}
