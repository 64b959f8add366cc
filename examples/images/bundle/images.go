package main

import (
	"runtime"

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
