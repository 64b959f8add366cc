package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestTake(t *testing.T) {
	pool := newPool()
	for name, file := range map[string]struct {
		owner string
		entry entry
	}{
		"usr/bin/nslookup":              {"tools", entry{mode: 0o755, data: []byte("#!/bin/sh\n")}},
		"usr/bin/alias":                 {"tools", entry{link: "../share-of/target"}},
		"usr/share-of/target":           {"other", entry{mode: 0o644, data: []byte("target")}},
		"usr/bin/unasked":               {"tools", entry{mode: 0o755, data: []byte("#!/bin/sh\n")}},
		"usr/share/doc/tools":           {"tools", entry{link: "other"}},
		"usr/share/doc/other/copyright": {"other", entry{mode: 0o644, data: []byte("licence")}},
	} {
		pool.files[name], pool.owners[name] = file.entry, file.owner
	}
	cases := []struct{ asked, want string }{
		{"usr/bin/nslookup", "usr/bin/nslookup usr/share/doc/other/copyright usr/share/doc/tools"},
		{"usr/bin/alias", "usr/bin/alias usr/share-of/target usr/share/doc/other/copyright usr/share/doc/tools"},
	}
	for _, c := range cases {
		taken, err := pool.take(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(taken)), " "); got != c.want {
			t.Errorf("take(%s) = %s, want %s", c.asked, got, c.want)
		}
	}
	if _, err := pool.take("usr/bin/gone"); err == nil || !strings.Contains(err.Error(), "/usr/bin/gone") {
		t.Errorf("got %v, want it to name the file", err)
	}
}
