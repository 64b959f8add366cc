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
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// standInAnnotation is the annotation of a manifest that says, in one sentence, what the image stands in for.
const standInAnnotation = "kubelite.dev/stand-in"

// debianPackages are the packages that the images' programs come from. What they depend on is fetched as well.
func debianPackages() []string {
	return []string{"busybox", "curl", "jq", "bind9-dnsutils", "bind9-host", "nginx", "nginx-common"}
}

// definition is an image before its layers are archives.
type definition struct {
	name        string // as the textbooks' manifests have it
	description string
	standIn     string     // what it stands in for
	layers      []v1.Layer // lowest first
	config      v1.Config
}

// define lists the images.
func define(layers *layers) []definition {
	const (
		hub  = "This is a stand-in that kubelite made from Debian's packages, in place of Docker Hub's image "
		ours = "This is a stand-in, a program of kubelite's own with the same port, paths and answers, for the textbook's image "
	)
	sleep := []string{"sh", "-c", "trap 'exit 0' TERM INT; sleep infinity & wait"}
	web := func(name, version string) definition {
		return definition{
			name: "docker.io/kiamol/" + name, description: "A page with a button that shows a random number from an API.",
			standIn: ours + "kiamol/" + name + ".", layers: []v1.Layer{layers.base, layers.apps["numbers-web"]},
			config: v1.Config{Cmd: []string{"/app/numbers-web", "-version", version}, WorkingDir: "/app", ExposedPorts: port("80/tcp")},
		}
	}
	return []definition{
		{
			name: "docker.io/library/busybox:latest", description: "A shell and small Unix tools.",
			standIn: hub + "busybox.", layers: []v1.Layer{layers.base}, config: v1.Config{Cmd: []string{"sh"}},
		},
		{
			name: "docker.io/kiamol/ch03-sleep:latest", description: "A Pod that sleeps, with tools to look at a network: ping, curl, jq, nslookup, dig.",
			standIn: hub + "kiamol/ch03-sleep.", layers: []v1.Layer{layers.base, layers.sleep}, config: v1.Config{Cmd: sleep},
		},
		{
			name: "docker.io/kiamol/ch03-numbers-api:latest", description: "An API that answers with a random number.",
			standIn: ours + "kiamol/ch03-numbers-api.", layers: []v1.Layer{layers.base, layers.apps["numbers-api"]},
			config: v1.Config{Cmd: []string{"/app/numbers-api"}, WorkingDir: "/app", ExposedPorts: port("80/tcp")},
		},
		web("ch03-numbers-web:latest", "v1"),
		web("ch03-numbers-web:v2", "v2"),
		{
			name: "docker.io/luksa/kubia:latest", description: "A web server that answers with its host's name.",
			standIn: ours + "luksa/kubia.", layers: []v1.Layer{layers.base, layers.apps["kubia"]},
			config: v1.Config{Entrypoint: []string{"/app/kubia"}, ExposedPorts: port("8080/tcp")},
		},
		{
			name: "docker.io/library/nginx:latest", description: "The web server nginx.",
			standIn: hub + "nginx.", layers: []v1.Layer{layers.base, layers.nginx},
			config: v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}, ExposedPorts: port("80/tcp"), StopSignal: "SIGQUIT"},
		},
	}
}

func port(name string) map[string]struct{} { return map[string]struct{}{name: {}} }

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

// configFile is an image's configuration: what all have in common, and its own.
func (d definition) configFile() *v1.ConfigFile {
	config := d.config
	config.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, config.Env...)
	config.Labels = d.annotations()
	return &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux", Config: config, RootFS: v1.RootFS{Type: "layers"}}
}

// annotations are the manifest's.
func (d definition) annotations() map[string]string {
	return map[string]string{
		standInAnnotation:                        d.standIn,
		"org.opencontainers.image.title":         d.name,
		"org.opencontainers.image.description":   d.description,
		"org.opencontainers.image.vendor":        "kubelite",
		"org.opencontainers.image.documentation": "/usr/share/doc/*/copyright in the image has the licences of Debian's packages",
	}
}
