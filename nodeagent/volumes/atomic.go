package volumes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// file is one file of a payload.
type file struct {
	content []byte
	mode    os.FileMode
}

// payload is a volume's whole content: paths relative to it, with slashes.
type payload map[string]file

const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
)

// write makes the folder hold exactly the payload, in one step for its readers; nothing is touched if it does already. group is the
// files' group, -1 for the agent's own.
func write(folder string, content payload, group int) error {
	for path := range content {
		if err := validPath(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	old, err := os.Readlink(filepath.Join(folder, dataLink))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if old != "" {
		same, err := holds(filepath.Join(folder, old), content)
		if err != nil {
			return err
		}
		if same {
			return link(folder, content) // a crash may have come between the swap and the names
		}
	}
	fresh, err := os.MkdirTemp(folder, "..")
	if err != nil {
		return err
	}
	if err := fill(fresh, content, group); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	temporary := filepath.Join(folder, newDataLink)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(fresh), temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(folder, dataLink)); err != nil {
		return err
	}
	if err := link(folder, content); err != nil {
		return err
	}
	return sweep(folder, filepath.Base(fresh), content)
}

func validPath(path string) error {
	if path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "..") || !filepath.IsLocal(path) {
		return fmt.Errorf("invalid path %q in volume: must be relative, must not contain '..' and must not start with it", path)
	}
	return nil
}

func fill(folder string, content payload, group int) error {
	if err := os.Chmod(folder, 0o755); err != nil {
		return err
	}
	for path, file := range content {
		full := filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, file.content, file.mode); err != nil {
			return err
		}
		if group >= 0 {
			if err := os.Chown(full, -1, group); err != nil {
				return err
			}
		}
		if err := os.Chmod(full, file.mode); err != nil { // the umask does not count
			return err
		}
	}
	return nil
}

// holds says whether the folder's files are those of the payload.
func holds(folder string, content payload) (bool, error) {
	found := 0
	same := true
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		want, wanted := content[filepath.ToSlash(relative)]
		same = same && wanted && bytes.Equal(want.content, data) && want.mode.Perm() == info.Mode().Perm()
		found++
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return same && found == len(content), err
}

// link makes the names by which containers know the content: each leads through ..data.
func link(folder string, content payload) error {
	for path := range content {
		name, _, _ := strings.Cut(path, "/")
		target := filepath.Join(dataLink, name)
		if current, err := os.Readlink(filepath.Join(folder, name)); err == nil && current == target {
			continue
		}
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// sweep removes what an earlier payload has left.
func sweep(folder, current string, content payload) error {
	names := map[string]bool{dataLink: true, current: true}
	for path := range content {
		name, _, _ := strings.Cut(path, "/")
		names[name] = true
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var failures []error
	for _, entry := range entries {
		if !names[entry.Name()] {
			failures = append(failures, os.RemoveAll(filepath.Join(folder, entry.Name())))
		}
	}
	return errors.Join(failures...)
}
