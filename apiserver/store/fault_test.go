package store

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

func TestOpenExplains(t *testing.T) {
	filled := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "store.db")
		s, err := Open(path, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			k := key(configMaps, "default", name)
			must(t)(s.Create(t.Context(), k, object(k, "content of "+name)))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	edit := func(t *testing.T, path string, change func([]byte) []byte) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    []string
	}{
		{"garbage", func(t *testing.T, path string) {
			edit(t, path, func(c []byte) []byte { return bytes.Repeat([]byte("garbage "), len(c)/8) })
		}, []string{"store.db", "invalid database", "restore the file from a copy"}},
		{"changed object", func(t *testing.T, path string) {
			edit(t, path, func(c []byte) []byte { return bytes.ReplaceAll(c, []byte("content of a"), []byte("kontent of a")) })
		}, []string{`configmaps "a" in namespace "default"`, "damaged", "restore the file from a copy"}},
		{"held", func(t *testing.T, path string) { openTest(t, path, testOptions()) },
			[]string{"store.db", "another kubelite server holds the file"}},
		{"no folder", func(t *testing.T, path string) {
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, []string{"no such file", "make its folder first"}},
		{"other program's", func(t *testing.T, path string) {
			overwrite(t, path, func(tx *bbolt.Tx) error {
				if err := tx.DeleteBucket(metaBucket); err != nil {
					return err
				}
				return nil
			})
		}, []string{"file of another program", "move this one away"}},
		{"undecodable", func(t *testing.T, path string) {
			overwrite(t, path, func(tx *bbolt.Tx) error {
				return put(tx.Bucket(objectsBucket), key(configMaps, "default", "a"), 7, []byte("k8s\x00nonsense"))
			})
		}, []string{`configmaps "a" in namespace "default"`, "cannot be decoded", "newer kubelite"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filled(t)
			test.prepare(t, path)
			options := testOptions()
			options.LockTimeout = 1 // nanosecond: one try
			s, err := Open(path, options)
			if err == nil {
				t.Fatal(errors.Join(errors.New("opened"), s.Close()))
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func overwrite(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFileNeverPanics overwrites each stretch of a file in turn, and cuts it at each page: Open must return.
func TestDamagedFileNeverPanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		k := key(configMaps, "default", strings.Repeat("n", i+1))
		must(t)(s.Create(t.Context(), k, object(k, strings.Repeat("v", 200))))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(content []byte) {
		damaged := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(damaged, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(damaged, testOptions())
		if err != nil {
			refused++
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for at := 0; at < len(sound); at += 512 {
		content := bytes.Clone(sound)
		for i := range 24 {
			content[at+i] ^= 0xff
		}
		try(content)
	}
	for size := 4096; size < len(sound); size += 4096 {
		try(sound[:size])
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}

// TestFailedBatchIsUndone has a batch fail after the disk may have taken it: readers and a reopened store must agree.
func TestFailedBatchIsUndone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openTest(t, path, testOptions())
	kept, stray := key(configMaps, "a", "kept"), key(configMaps, "a", "stray")
	must(t)(s.Create(t.Context(), kept, object(kept, "acknowledged")))

	// bbolt refuses keys over 32 KiB: stands for any failing commit.
	tooLong := key(configMaps, "a", strings.Repeat("x", bbolt.MaxKeySize+1))
	if _, err := s.Create(t.Context(), tooLong, object(tooLong, "")); !errors.Is(err, bolterrors.ErrKeyTooLarge) {
		t.Errorf("Create: %v", err)
	}
	if _, err := s.Get(tooLong); !errors.Is(err, ErrNotFound) {
		t.Errorf("failed write is visible: %v", err)
	}
	// A commit whose sync fails may still reach the disk.
	err := s.file.db.Update(func(tx *bbolt.Tx) error {
		encoded, err := s.options.Codec.Encode(object(kept, "never acknowledged"))
		if err != nil {
			return err
		}
		return errors.Join(put(tx.Bucket(objectsBucket), kept, 99, encoded), put(tx.Bucket(objectsBucket), stray, 99, encoded))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.durable.writing.Lock()
	s.file.doubtful[kept], s.file.doubtful[stray] = struct{}{}, struct{}{}
	s.durable.writing.Unlock()

	next := key(configMaps, "a", "next")
	must(t)(s.Create(t.Context(), next, object(next, "")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, path, testOptions())
	if got := value(must(t)(s.Get(kept))); got != "acknowledged" {
		t.Errorf("kept: %s", got)
	}
	if _, err := s.Get(stray); !errors.Is(err, ErrNotFound) {
		t.Errorf("stray: %v", err)
	}
}

// TestDiskFull runs in a process with a mount namespace of its own, where a small tmpfs is filled.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("KUBELITE_REQUIRE_ROOT") == "1" {
			t.Fatal("mounting a small file system needs root")
		}
		t.Skip("mounting a small file system needs root")
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), diskFullEnv+"="+t.TempDir())
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}
