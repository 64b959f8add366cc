package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/kubelite/kubelite/nodeagent/images"
)

// smallLayers are layers with one file each.
func smallLayers(t *testing.T) *layers {
	t.Helper()
	layer := func(name string) v1.Layer {
		made, err := tree{name: {mode: 0o644, data: []byte(name)}}.layer()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	made := &layers{base: layer("base"), sleep: layer("sleep"), nginx: layer("nginx"), apps: map[string]v1.Layer{}}
	for _, name := range appNames {
		made.apps[name] = layer("app/" + name)
	}
	return made
}

// TestBundleLoads writes a bundle of small images and loads it into an image store.
func TestBundleLoads(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("KUBELITE_REQUIRE_ROOT") == "1" {
			t.Fatal("layers are unpacked with their owners: run this as root")
		}
		t.Skip("layers are unpacked with their owners: needs root")
	}
	work := t.TempDir()
	var made []image
	for _, definition := range define(smallLayers(t)) {
		finished, err := definition.make()
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, image{definition.name, finished})
	}
	output := filepath.Join(work, "images.tar")
	if err := writeBundle(work, output, made); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(work, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, descriptor := range manifest.Manifests {
		if got := descriptor.Annotations["io.containerd.image.name"]; got != made[i].name {
			t.Errorf("image %d is annotated with the name %q, want %q", i, got, made[i].name)
		}
	}
	file, err := os.Open(output)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	store, err := images.Open(filepath.Join(work, "store"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	base := ""
	// The names are spelt as in the textbooks' manifests.
	for _, name := range []string{"kiamol/ch03-sleep", "kiamol/ch03-numbers-api", "kiamol/ch03-numbers-web", "kiamol/ch03-numbers-web:v2", "luksa/kubia", "busybox", "nginx"} {
		loaded, err := store.Get(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if text := loaded.Annotations[standInAnnotation]; !strings.HasPrefix(text, "This is a stand-in") || !strings.HasSuffix(text, ".") {
			t.Errorf("%s does not say that it is a stand-in: %q", name, text)
		}
		lowest := loaded.LayerDirs[len(loaded.LayerDirs)-1]
		if base == "" {
			base = lowest
		}
		if lowest != base {
			t.Errorf("%s has a base layer of its own", name)
		}
	}
}
