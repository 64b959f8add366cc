package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
)

// pool holds the files of all fetched packages, by path.
type pool struct {
	files  tree
	owners map[string]string // path → package
}

func newPool() *pool { return &pool{tree{}, map[string]string{}} }

// wanted says which files of a package an image may need. Documentation other than licences, locales and the like never are.
func wanted(name string) bool {
	if strings.HasPrefix(name, "usr/share/") {
		return strings.HasPrefix(name, "usr/share/doc/") && (path.Base(name) == "copyright" || strings.Count(name, "/") == 3)
	}
	return strings.HasPrefix(name, "usr/") || strings.HasPrefix(name, "etc/nginx/")
}

// mergeUsr is a path as a system with a merged /usr has it: bin/busybox is usr/bin/busybox.
func mergeUsr(name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib64":
		return "usr/" + name
	}
	return name
}

// add reads a package's files.
func (p *pool) add(ctx context.Context, name, file string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	readErr := p.read(name, output)
	if readErr != nil {
		cancel() // it would wait for a reader
	}
	if err := errors.Join(readErr, command.Wait()); err != nil {
		return fmt.Errorf("read Debian's package %s: %w %s\ndelete %s and run this again", name, err, strings.TrimSpace(said.String()), file)
	}
	return nil
}

func (p *pool) read(owner string, archive io.Reader) error {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, archive) // padding
			return err
		}
		if err != nil {
			return err
		}
		name := mergeUsr(strings.TrimPrefix(path.Clean("/"+header.Name), "/"))
		if !wanted(name) {
			continue
		}
		switch header.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(reader)
			if err != nil {
				return err
			}
			p.files[name] = entry{mode: header.FileInfo().Mode().Perm(), data: data}
		case tar.TypeLink:
			p.files[name] = entry{link: "/" + mergeUsr(strings.TrimPrefix(path.Clean("/"+header.Linkname), "/"))}
		case tar.TypeSymlink:
			p.files[name] = entry{link: header.Linkname}
		default:
			continue // directories are made when the layer is
		}
		p.owners[name] = owner
	}
}
