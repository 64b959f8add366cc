package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestTreeWrite(t *testing.T) {
	content := tree{
		"usr/bin/busybox": {mode: 0o755, data: []byte("program")},
		"usr/bin/ls":      {link: "/usr/bin/busybox"},
		"tmp":             {mode: fs.ModeDir | fs.ModeSticky | 0o777},
		"etc/passwd":      {mode: 0o644, data: []byte("root")},
	}
	var first, second bytes.Buffer
	if err := content.write(&first); err != nil {
		t.Fatal(err)
	}
	if err := content.write(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same tree gives another archive")
	}
	want := strings.TrimSpace(`
etc/ 755 0
etc/passwd 644 4
tmp/ 1777 0
usr/ 755 0
usr/bin/ 755 0
usr/bin/busybox 755 7
usr/bin/ls 777 0 -> /usr/bin/busybox`)
	var got []string
	for reader := tar.NewReader(&first); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s %o %d", header.Name, header.Mode, header.Size)
		if header.Linkname != "" {
			line += " -> " + header.Linkname
		}
		got = append(got, line)
		if header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 0 {
			t.Errorf("%s belongs to %d:%d, of %s; want root and no particular time", header.Name, header.Uid, header.Gid, header.ModTime)
		}
	}
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestTreeFollow(t *testing.T) {
	content := tree{
		"usr/lib/libz.so.1":     {link: "libz.so.1.2"},
		"usr/lib/libz.so.1.2":   {data: []byte("z")},
		"usr/lib64/ld.so":       {link: "/lib/ld-2.so"},
		"usr/lib/ld-2.so":       {data: []byte("ld")},
		"usr/lib/up.so":         {link: "../lib64/ld.so"},
		"usr/lib/loop":          {link: "loop"},
		"usr/lib/dangling.so.1": {link: "nowhere"},
	}
	cases := []struct{ name, want string }{
		{"usr/lib/libz.so.1", "usr/lib/libz.so.1 usr/lib/libz.so.1.2"},
		{"usr/lib/libz.so.1.2", "usr/lib/libz.so.1.2"},
		{"usr/lib64/ld.so", "usr/lib64/ld.so usr/lib/ld-2.so"},
		{"usr/lib/up.so", "usr/lib/up.so usr/lib64/ld.so usr/lib/ld-2.so"},
		{"usr/lib/loop", ""},
		{"usr/lib/dangling.so.1", ""},
		{"missing", ""},
	}
	for _, c := range cases {
		if got := strings.Join(content.follow(c.name), " "); got != c.want {
			t.Errorf("follow(%s) = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTreeWithoutEqual(t *testing.T) {
	below := tree{"usr/bin/nslookup": {link: "/usr/bin/busybox"}, "usr/lib/libc.so.6": {mode: 0o755, data: []byte("c")}}
	above := tree{"usr/bin/nslookup": {mode: 0o755, data: []byte("bind")}, "usr/lib/libc.so.6": {mode: 0o755, data: []byte("c")}}
	rest := above.withoutEqual(below)
	if _, ok := rest["usr/lib/libc.so.6"]; ok || len(rest) != 1 {
		t.Errorf("got %v, want the real nslookup only", rest)
	}
}

func TestWanted(t *testing.T) {
	for name, want := range map[string]bool{
		"usr/bin/curl": true, "usr/lib/x86_64-linux-gnu/libc.so.6": true, "etc/nginx/mime.types": true,
		"usr/share/doc/curl/copyright": true, "usr/share/doc/libgcc-s1": true,
		"usr/share/doc/curl/changelog.Debian.gz": false, "usr/share/man/man1/curl.1.gz": false, "usr/share/locale/ko/x.mo": false,
		"etc/init.d/nginx": false, "var/lib/dpkg/info/x": false,
	} {
		if got := wanted(name); got != want {
			t.Errorf("wanted(%s) = %t", name, got)
		}
	}
}

func TestMergeUsr(t *testing.T) {
	for name, want := range map[string]string{"bin/ls": "usr/bin/ls", "lib64/ld.so": "usr/lib64/ld.so", "usr/bin/jq": "usr/bin/jq", "etc/nginx": "etc/nginx", "library": "library"} {
		if got := mergeUsr(name); got != want {
			t.Errorf("mergeUsr(%s) = %s, want %s", name, got, want)
		}
	}
}

func TestOwnFiles(t *testing.T) {
	content := tree{}
	for _, folder := range []string{"base", "nginx"} {
		if err := content.addOwn(folder); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"etc/passwd", "etc/nsswitch.conf", "etc/nginx/nginx.conf", "usr/share/nginx/html/index.html"} {
		if _, ok := content[name]; !ok {
			t.Errorf("%s is missing in %v", name, slices.Collect(func(yield func(string) bool) {
				for name := range content {
					if !yield(name) {
						return
					}
				}
			}))
		}
	}
}
