package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// layers are what the images are put together from. Several images have the same one.
type layers struct {
	base, sleep, nginx v1.Layer
	apps               map[string]v1.Layer
}

// newLayers takes the programs of each layer from the pool.
func newLayers(ctx context.Context, pool *pool, apps map[string]tree) (*layers, error) {
	base, err := baseLayer(ctx, pool)
	if err != nil {
		return nil, err
	}
	sleep, err := pool.take("usr/bin/curl", "usr/bin/jq", "usr/bin/nslookup", "usr/bin/dig", "usr/bin/host")
	if err != nil {
		return nil, err
	}
	nginx, err := pool.take("usr/sbin/nginx", "etc/nginx/mime.types", "etc/nginx/fastcgi_params", "etc/nginx/proxy_params")
	if err != nil {
		return nil, err
	}
	if err := nginx.addOwn("nginx"); err != nil {
		return nil, err
	}
	maps.Copy(nginx, tree{ // what nginx logs is the container's log
		"var/log/nginx/access.log": {link: "/dev/stdout"},
		"var/log/nginx/error.log":  {link: "/dev/stderr"},
		"var/lib/nginx":            {mode: fs.ModeDir | 0o755},
	})
	// An applet of the base may stand where a layer above has the real program, so that only equal files are left out.
	made := &layers{apps: map[string]v1.Layer{}}
	if made.base, err = base.layer(); err != nil {
		return nil, err
	}
	if made.sleep, err = sleep.withoutEqual(base).layer(); err != nil {
		return nil, err
	}
	if made.nginx, err = nginx.withoutEqual(base).layer(); err != nil {
		return nil, err
	}
	for name, app := range apps {
		if made.apps[name], err = app.layer(); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// baseLayer is busybox with all its applets, the folders that programs expect, and the few files of /etc that glibc reads.
func baseLayer(ctx context.Context, pool *pool) (tree, error) {
	base, err := pool.take("usr/bin/busybox")
	if err != nil {
		return nil, err
	}
	if err := base.addOwn("base"); err != nil {
		return nil, err
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		base[name] = entry{link: "usr/" + name}
	}
	for _, name := range []string{"dev", "home", "mnt", "opt", "proc", "run", "sys", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "var/log", "var/www"} {
		base[name] = entry{mode: fs.ModeDir | 0o755}
	}
	base["root"] = entry{mode: fs.ModeDir | 0o700}
	for _, name := range []string{"tmp", "var/tmp"} {
		base[name] = entry{mode: fs.ModeDir | fs.ModeSticky | 0o777}
	}
	base["var/run"] = entry{link: "/run"}
	applets, err := applets(ctx, base)
	if err != nil {
		return nil, err
	}
	for _, name := range applets {
		if _, taken := base[name]; !taken {
			base[name] = entry{link: "/usr/bin/busybox"}
		}
	}
	return base, nil
}

// applets asks the fetched busybox for the paths of its commands, without a leading slash. It runs with its own loader and
// libraries: the machine's may be another release's.
func applets(ctx context.Context, base tree) ([]string, error) {
	work, err := os.MkdirTemp("", "kubelite-busybox-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	loader := ""
	for _, name := range slices.Sorted(maps.Keys(base)) {
		if !strings.HasPrefix(name, "usr/lib") && name != "usr/bin/busybox" {
			continue
		}
		way := base.follow(name)
		if way == nil {
			continue // a folder of its own, or a link to one
		}
		target := filepath.Join(work, path.Base(name))
		if file := base[way[len(way)-1]]; !file.mode.IsDir() {
			if err := os.WriteFile(target, file.data, 0o755); err != nil {
				return nil, err
			}
		}
		if strings.HasPrefix(path.Base(name), "ld-linux") {
			loader = target
		}
	}
	output, err := exec.CommandContext(ctx, loader, "--library-path", work, filepath.Join(work, "busybox"), "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("ask Debian's busybox for its commands: %w", err)
	}
	var names []string
	for _, name := range strings.Fields(string(output)) {
		if strings.Contains(name, "/") { // linuxrc is for the first steps of a machine
			names = append(names, mergeUsr(name))
		}
	}
	return names, nil
}
