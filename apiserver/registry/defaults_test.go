package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDefaults creates each testdata/defaults/RESOURCE-CASE.yaml and compares the object with its golden file.
func TestDefaults(t *testing.T) {
	inputs, err := filepath.Glob("testdata/defaults/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(inputs) == 0 {
		t.Fatal("no testdata")
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".yaml")
		t.Run(name, func(t *testing.T) {
			manifest, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			resource, _, _ := strings.Cut(name, "-")
			result := newTable(testConfig()).create(t, resource, string(manifest))
			if lines := result.lines(); len(lines) > 0 {
				t.Fatalf("invalid: %s", strings.Join(lines, "\n"))
			}
			golden(t, filepath.Join("defaults", name+".golden"), text(t, result.obj))
		})
	}
}

// TestDefaultTwice: what was filled in stays as it is.
func TestDefaultTwice(t *testing.T) {
	inputs, err := filepath.Glob("testdata/defaults/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range inputs {
		manifest, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		resource, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(input), ".yaml"), "-")
		kinds := newTable(testConfig())
		if kinds[resource].Default == nil {
			continue
		}
		obj := kinds.create(t, resource, string(manifest)).obj
		before := text(t, obj)
		kinds[resource].Default(obj)
		if after := text(t, obj); after != before {
			t.Errorf("%s: defaults changed a defaulted object:\n%s\nbefore:\n%s", input, after, before)
		}
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]string{
		"nginx":                          "Always",
		"nginx:latest":                   "Always",
		"nginx:1.27":                     "IfNotPresent",
		"registry:5000/nginx":            "Always",
		"registry:5000/a/nginx:v1":       "IfNotPresent",
		"nginx@sha256:abc":               "IfNotPresent",
		"registry:5000/nginx@sha256:abc": "IfNotPresent",
		"kiamol/ch03-sleep":              "Always",
		"kiamol/ch03-numbers-web:v2":     "IfNotPresent",
	} {
		if got := string(pullPolicy(image)); got != want {
			t.Errorf("pullPolicy(%q) = %s, want %s", image, got, want)
		}
	}
}
