package registry

import (
	"context"
	"flag"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

// testConfig is a cluster with the service account "default" in the namespace "default", and the seed 1.
func testConfig() Config {
	return Config{
		ServiceCIDRs:  []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
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

// newTable makes the kinds of a cluster with config's ServiceCIDR, in which what goes along with committed objects is stored.
func newTable(config Config) table {
	stored := alongside{objects: map[schema.GroupResource]map[string]Object{}}
	cidr := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: DefaultServiceCIDR}}
	for _, prefix := range config.ServiceCIDRs {
		cidr.Spec.CIDRs = append(cidr.Spec.CIDRs, prefix.String())
	}
	prepareServiceCIDR(cidr)
	stored.put(serviceCIDRResource, cidr)
	get := config.Get
	config.Get = func(resource schema.GroupResource, namespace, name string) Object {
		if resource == ipAddressResource {
			return stored.get(resource, name)
		}
		return get(resource, namespace, name)
	}
	config.List = stored.list
	kinds := table{}
	for _, kind := range Kinds(config) {
		kinds[kind.GroupResource().String()] = kind
		if kind.Along != nil {
			stored.follow(kind)
		}
	}
	return kinds
}

// alongside holds cluster-scoped objects by resource and name.
type alongside struct {
	mu      sync.Mutex
	objects map[schema.GroupResource]map[string]Object
}

func (a *alongside) put(resource schema.GroupResource, obj Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.objects[resource] == nil {
		a.objects[resource] = map[string]Object{}
	}
	a.objects[resource][obj.GetName()] = obj
}

func (a *alongside) get(resource schema.GroupResource, name string) Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.objects[resource][name]
}

func (a *alongside) list(resource schema.GroupResource) []Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.objects[resource]))
}

func (a *alongside) remove(resource schema.GroupResource, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.objects[resource], name)
}

// follow stores what goes along with a kind's objects, before the kind's own hooks hear of the write: as the server does.
func (a *alongside) follow(kind *Kind) {
	apply := func(obj, old Object) {
		set, removed := kind.Along(obj, old)
		for _, obj := range removed {
			a.remove(ipAddressResource, obj.GetName())
		}
		for _, obj := range set {
			a.put(ipAddressResource, obj)
		}
	}
	begin, afterDelete := kind.Begin, kind.AfterDelete
	kind.Begin = func(ctx context.Context, obj, old Object) (func(bool), error) {
		finish, err := begin(ctx, obj, old)
		return func(committed bool) {
			if committed {
				apply(obj, old)
			}
			finish(committed)
		}, err
	}
	kind.AfterDelete = func(obj Object) {
		apply(nil, obj)
		afterDelete(obj)
	}
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
	prepare := func() {
		if kind.PrepareForCreate != nil {
			kind.PrepareForCreate(obj)
		}
	}
	validate := func() field.ErrorList {
		if kind.Validate == nil {
			return nil
		}
		return kind.Validate(obj)
	}
	return t.write(kind, obj, nil, prepare, validate)
}

// change takes an object the way of a PUT.
func (t table) change(test *testing.T, resource string, old Object, manifest string) created {
	test.Helper()
	kind, obj := t[resource], t.decode(test, resource, manifest)
	before := old.DeepCopyObject()
	prepare := func() {
		if kind.PrepareForUpdate != nil {
			kind.PrepareForUpdate(obj, old)
		}
	}
	validate := func() field.ErrorList {
		if kind.ValidateUpdate == nil {
			return nil
		}
		return kind.ValidateUpdate(obj, old)
	}
	result := t.write(kind, obj, old, prepare, validate)
	if text(test, before) != text(test, old) {
		test.Errorf("the old object was changed:\n%s", text(test, old))
	}
	return result
}

// write runs the hooks in the order in which the server does.
func (t table) write(kind *Kind, obj, old Object, prepare func(), validate func() field.ErrorList) created {
	result := created{obj: obj}
	if kind.Default != nil {
		kind.Default(obj)
	}
	finish := func(bool) {}
	if kind.Begin != nil {
		if finish, result.err = kind.Begin(context.Background(), obj, old); result.err != nil {
			return result
		}
	}
	prepare()
	if result.errs = validate(); len(result.errs) > 0 {
		finish(false)
		return result
	}
	if kind.Warnings != nil {
		result.warnings = kind.Warnings(obj, old)
	}
	result.err = t.admit(kind, obj, old)
	finish(result.err == nil)
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
