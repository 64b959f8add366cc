package main

import (
	"archive/tar"
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// entry is a file, a symbolic link, or a directory.
type entry struct {
	mode fs.FileMode // permissions; with fs.ModeDir it is a directory
	data []byte
	link string // a symbolic link's target; empty for others
}

// tree maps paths without a leading slash to what is there. Directories that lead to an entry need no entry of their own.
type tree map[string]entry

//go:embed all:rootfs
var rootfs embed.FS

// addOwn adds our own files of a folder of rootfs. Those in usr/bin are programs.
func (t tree) addOwn(folder string) error {
	root, err := fs.Sub(rootfs, "rootfs/"+folder)
	if err != nil {
		return err
	}
	return fs.WalkDir(root, ".", func(name string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		t[name] = entry{mode: 0o644, data: data}
		if path.Dir(name) == "usr/bin" {
			t[name] = entry{mode: 0o755, data: data}
		}
		return err
	})
}

// withoutEqual returns a tree less what another has just like it: what a layer above the other has to hold.
func (t tree) withoutEqual(other tree) tree {
	rest := maps.Clone(t)
	maps.DeleteFunc(rest, func(name string, file entry) bool {
		below, ok := other[name]
		return ok && below.mode == file.mode && below.link == file.link && bytes.Equal(below.data, file.data)
	})
	return rest
}

// follow returns the path that a path stands for, symbolic links followed, with all paths on the way; nil if there is nothing.
func (t tree) follow(name string) []string {
	var way []string
	for range 10 { // more links than that are a loop
		file, ok := t[name]
		if !ok {
			return nil
		}
		way = append(way, name)
		if file.link == "" {
			return way
		}
		target := file.link
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", path.Dir(name), target)
		}
		name = mergeUsr(strings.TrimPrefix(path.Clean(target), "/"))
	}
	return nil
}

// write writes the tree as an archive: sorted, owned by root, of no particular time. The same tree gives the same bytes.
func (t tree) write(target io.Writer) error {
	whole := maps.Clone(t)
	for name := range t {
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			if _, ok := whole[parent]; !ok {
				whole[parent] = entry{mode: fs.ModeDir | 0o755}
			}
		}
	}
	archive := tar.NewWriter(target)
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		file := whole[name]
		header := &tar.Header{Name: name, Mode: int64(file.mode.Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		switch {
		case file.link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, file.link, 0o777
		case file.mode.IsDir():
			header.Typeflag, header.Name = tar.TypeDir, name+"/"
			if file.mode&fs.ModeSticky != 0 {
				header.Mode |= 0o1000
			}
		default:
			header.Typeflag, header.Size = tar.TypeReg, int64(len(file.data))
		}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := archive.Write(file.data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return archive.Close()
}
