package registry

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

// testConfig is a cluster with the service account "default" in the namespace "default", and the seed 1.
func testConfig() Config {
	return Config{
		ServiceCIDR:   netip.MustParsePrefix("10.96.0.0/12"),
		NodePortFirst: 30000,
		NodePortLast:  32767,
		IntN:          rand.New(rand.NewPCG(1, 1)).IntN,
		Get: func(resource schema.GroupResource, namespace, name string) Object {
			if resource.Resource == "serviceaccounts" && namespace == "default" && name == "default" {
				return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			}
			return nil
		},
	}
}

// table finds kinds by resource and group: "pods", "deployments.apps".
type table map[string]*Kind

func newTable(config Config) table {
	kinds := table{}
	for _, kind := range Kinds(config) {
		kinds[kind.GroupResource().String()] = kind
	}
	return kinds
}

func (t table) decode(test *testing.T, resource, manifest string) Object {
	test.Helper()
	kind := t[resource]
	if kind == nil {
		test.Fatalf("no kind %q", resource)
	}
	obj := kind.New()
	if err := yaml.UnmarshalStrict([]byte(manifest), obj); err != nil {
		test.Fatalf("decode: %v\n%s", err, manifest)
	}
	if kind.Namespaced && obj.GetNamespace() == "" {
		obj.SetNamespace("default")
	}
	if kind.StoredAs != nil {
		obj = kind.StoredAs.ToStored(obj)
	}
	return obj
}

// created is what came of an object that went the way of a POST.
type created struct {
	obj      Object
	errs     field.ErrorList
	warnings []string
	err      error
}

func (t table) create(test *testing.T, resource, manifest string) created {
	test.Helper()
	kind, obj := t[resource], t.decode(test, resource, manifest)
	if kind.Default != nil {
		kind.Default(obj)
	}
	if kind.PrepareForCreate != nil {
		kind.PrepareForCreate(obj)
	}
	result := created{obj: obj}
	if kind.Validate != nil {
		result.errs = kind.Validate(obj)
	}
	if kind.Warnings != nil && len(result.errs) == 0 {
		result.warnings = kind.Warnings(obj, nil)
	}
	if len(result.errs) == 0 {
		result.err = t.admit(kind, obj, nil)
	}
	return result
}

// change takes an object the way of a PUT.
func (t table) change(test *testing.T, resource string, old Object, manifest string) created {
	test.Helper()
	kind, obj := t[resource], t.decode(test, resource, manifest)
	if kind.Default != nil {
		kind.Default(obj)
	}
	before := old.DeepCopyObject()
	if kind.PrepareForUpdate != nil {
		kind.PrepareForUpdate(obj, old)
	}
	result := created{obj: obj}
	if kind.ValidateUpdate != nil {
		result.errs = kind.ValidateUpdate(obj, old)
	}
	if kind.Warnings != nil && len(result.errs) == 0 {
		result.warnings = kind.Warnings(obj, old)
	}
	if len(result.errs) == 0 {
		result.err = t.admit(kind, obj, old)
	}
	if text(test, before) != text(test, old) {
		test.Errorf("the old object was changed:\n%s", text(test, old))
	}
	return result
}

func (t table) admit(kind *Kind, obj, old Object) error {
	if kind.Admit == nil {
		return nil
	}
	finish, err := kind.Admit(context.Background(), obj, old)
	if finish != nil {
		finish(err == nil)
	}
	return err
}

// lines are the result's errors, sorted.
func (c created) lines() []string {
	var lines []string
	for _, err := range c.errs {
		lines = append(lines, err.Error())
	}
	if c.err != nil {
		lines = append(lines, c.err.Error())
	}
	slices.Sort(lines)
	return lines
}

func text(test *testing.T, value any) string {
	test.Helper()
	data, err := yaml.Marshal(value)
	if err != nil {
		test.Fatal(err)
	}
	return string(data)
}

// equalLines compares expected lines, in any order, with those that there are.
func equalLines(test *testing.T, what string, got, want []string) {
	test.Helper()
	want = slices.Clone(want)
	slices.Sort(want)
	got = slices.Clone(got)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		test.Errorf("%s:\n  %s\nwant:\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// golden compares with testdata/name, or writes it with -update.
func golden(test *testing.T, name, got string) {
	test.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			test.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			test.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		test.Fatal(err)
	}
	if got != string(want) {
		test.Errorf("%s differs; got:\n%s", path, got)
	}
}

// failCase is a manifest and everything that is wrong with it.
type failCase struct {
	name     string
	manifest string
	errs     []string
}

func runFailCases(test *testing.T, resource string, cases []failCase) {
	test.Helper()
	for _, c := range cases {
		test.Run(c.name, func(test *testing.T) {
			equalLines(test, "errors", newTable(testConfig()).create(test, resource, c.manifest).lines(), c.errs)
		})
	}
}
