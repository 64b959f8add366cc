package faults

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/examples/classroom"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// newRoom makes ready for a cluster that the test starts itself. When the test ends it is purged, and nothing of it may be left.
func newRoom(ctx context.Context, t *testing.T, name string) *classroom.Classroom {
	t.Helper()
	netnstest.RequireRoot(t)
	room, err := classroom.New(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := room.Stop(context.WithoutCancel(ctx), io.Discard); err != nil {
			t.Error(err)
		}
		for _, trace := range traces(t, name) {
			t.Errorf("after the purge there is %s", trace)
		}
	})
	return room
}

// startRoom is newRoom with a running cluster.
func startRoom(ctx context.Context, t *testing.T, name string) *classroom.Classroom {
	t.Helper()
	room := newRoom(ctx, t, name)
	if err := room.Up(ctx, io.Discard); err != nil {
		t.Fatal(err)
	}
	return room
}

// traces lists what there is of a cluster on this machine: processes, namespaces, mounts, control groups and folders.
func traces(t *testing.T, name string) []string {
	t.Helper()
	folders := []string{filepath.Join("/var/lib/kubelite", name), filepath.Join("/run/kubelite", name)}
	belongs := func(text string) bool {
		for _, folder := range folders {
			if strings.Contains(text, folder+"/") {
				return true
			}
		}
		return false
	}
	var found []string
	namespaces, err := lab.Namespaces(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range namespaces {
		found = append(found, "namespace "+namespace)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		if line, err := os.ReadFile(path); err == nil && belongs(string(line)) {
			found = append(found, fmt.Sprintf("process %s %q", path, line))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if belongs(strings.ReplaceAll(line, " ", "/ ")) {
			found = append(found, "mount "+line)
		}
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasSuffix(path, "/kubelite/"+name) {
			found = append(found, "control group "+path)
		}
		return nil // groups of others come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if _, err := os.Lstat(folder); err == nil {
			found = append(found, "folder "+folder)
		}
	}
	return found
}
