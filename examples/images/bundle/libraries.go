package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strings"
)

// loadedLate are libraries that glibc loads by name when a program looks up a host, in releases before 2.34.
var loadedLate = []string{"libnss_dns.so.2", "libnss_files.so.2"}

// take returns programs or other files of the pool, with all libraries that they need and the licences of the packages that
// these come from.
func (p *pool) take(names ...string) (tree, error) {
	taken := tree{}
	libraries := p.libraries()
	var err error
	for queue := slices.Clone(names); len(queue) > 0; queue = queue[1:] {
		way := p.files.follow(queue[0])
		if way == nil {
			return nil, fmt.Errorf("no Debian package of the bundle has /%s: its package has changed; see debianPackages", queue[0])
		}
		for _, name := range way {
			if _, ok := taken[name]; ok {
				continue
			}
			taken[name] = p.files[name]
			if queue, err = p.needs(queue, name, libraries); err != nil {
				return nil, err
			}
		}
	}
	p.addLicences(taken)
	return taken, nil
}

// libraries maps the names of all shared libraries in the folders where the loader looks to their paths.
func (p *pool) libraries() map[string]string {
	paths := map[string]string{}
	for name := range p.files {
		folder := path.Dir(name)
		if strings.Contains(path.Base(name), ".so") && strings.HasPrefix(folder, "usr/lib") && strings.Count(folder, "/") <= 2 {
			paths[path.Base(name)] = name
		}
	}
	return paths
}

// needs appends the loader and the libraries of a file to a queue, if it is a program or a library.
func (p *pool) needs(queue []string, name string, libraries map[string]string) ([]string, error) {
	data := p.files[name].data
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return queue, nil
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read /%s: %w", name, err)
	}
	wanted, err := file.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read /%s: %w", name, err)
	}
	for _, library := range wanted {
		found, ok := libraries[library]
		if !ok {
			return nil, fmt.Errorf("no fetched package has the library %s, which /%s of Debian's package %s needs: take its package out of unneeded, or name it in debianPackages", library, name, p.owners[name])
		}
		queue = append(queue, found)
		if library == "libc.so.6" {
			for _, late := range loadedLate {
				if found, ok := libraries[late]; ok {
					queue = append(queue, found)
				}
			}
		}
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			loader := data[segment.Off : segment.Off+segment.Filesz-1] // a C string
			queue = append(queue, mergeUsr(strings.TrimPrefix(string(loader), "/")))
		}
	}
	return queue, nil
}

// addLicences adds /usr/share/doc/PACKAGE/copyright of all packages that something was taken from.
func (p *pool) addLicences(taken tree) {
	owners := map[string]bool{}
	for name := range taken {
		owners[p.owners[name]] = true
	}
	for owner := range owners {
		folder := "usr/share/doc/" + owner
		if link, ok := p.files[folder]; ok && link.link != "" { // one package's documentation is another's
			taken[folder] = link
			way := p.files.follow(path.Join("usr/share/doc", link.link, "copyright"))
			for _, name := range way {
				taken[name] = p.files[name]
			}
			continue
		}
		for _, name := range p.files.follow(folder + "/copyright") {
			taken[name] = p.files[name]
		}
	}
}
