package openapi

import (
	"encoding/json"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
)

func podDocuments() *Documents {
	return New("v1.0.0", []Resource{{
		Kind:       corev1.SchemeGroupVersion.WithKind("Pod"),
		Plural:     "pods",
		Namespaced: true,
		Object:     TypeOf(&corev1.Pod{}),
		List:       TypeOf(&corev1.PodList{}),
		Updatable:  []string{"status"},
	}})
}

// at follows keys into a decoded document.
func at(t *testing.T, content any, keys ...string) any {
	t.Helper()
	for _, key := range keys {
		object, ok := content.(map[string]any)
		if !ok || object[key] == nil {
			t.Fatalf("nothing at %q of %v", key, keys)
		}
		content = object[key]
	}
	return content
}

func TestV3(t *testing.T) {
	document, ok, err := podDocuments().V3(corev1.SchemeGroupVersion)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	var content map[string]any
	if err := json.Unmarshal(document.Body, &content); err != nil {
		t.Fatal(err)
	}
	schemas := at(t, content, "components", "schemas")
	for _, test := range []struct {
		path []string
		want string
	}{
		{[]string{"io.k8s.api.core.v1.Pod", "x-kubernetes-group-version-kind"}, `[{"group":"","kind":"Pod","version":"v1"}]`},
		{[]string{"io.k8s.api.core.v1.PodSpec", "required"}, `["containers"]`},
		{[]string{"io.k8s.api.core.v1.PodSpec", "properties", "containers", "items"}, `{"$ref":"#/components/schemas/io.k8s.api.core.v1.Container"}`},
		{[]string{"io.k8s.api.core.v1.PodSpec", "properties", "containers", "x-kubernetes-patch-merge-key"}, `"name"`},
		{[]string{"io.k8s.api.core.v1.Container", "properties", "ports", "x-kubernetes-list-map-keys"}, `["containerPort","protocol"]`},
		{[]string{"io.k8s.api.core.v1.Probe", "properties", "periodSeconds", "format"}, `"int32"`},
		{[]string{"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "properties", "labels", "additionalProperties"}, `{"type":"string"}`},
		{[]string{"io.k8s.apimachinery.pkg.apis.meta.v1.Time", "format"}, `"date-time"`},
		{[]string{"io.k8s.apimachinery.pkg.util.intstr.IntOrString", "oneOf"}, `[{"type":"integer"},{"type":"string"}]`},
		{[]string{"io.k8s.apimachinery.pkg.api.resource.Quantity", "oneOf"}, `[{"type":"string"},{"type":"number"}]`},
	} {
		got, err := json.Marshal(at(t, schemas, test.path...))
		if err != nil || string(got) != test.want {
			t.Errorf("%v: %s, %v", test.path, got, err)
		}
	}
	at(t, content, "paths", "/api/v1/namespaces/{namespace}/pods/{name}/status", "patch", "x-kubernetes-group-version-kind")
	if _, ok, _ := podDocuments().V3(apischema.GroupVersion{Group: "apps", Version: "v1"}); ok {
		t.Error("a group that is not served has a document")
	}
}

func TestV2IsValidAndTheSameAsProtobuf(t *testing.T) {
	documents := podDocuments()
	document, err := documents.V2Proto()
	if err != nil {
		t.Fatal(err)
	}
	var parsed openapi_v2.Document
	if err := proto.Unmarshal(document.Body, &parsed); err != nil {
		t.Fatal(err)
	}
	if got := len(parsed.GetDefinitions().GetAdditionalProperties()); got < 100 {
		t.Errorf("only %d definitions", got)
	}
}

func TestDocumentsAreTheSameEachTime(t *testing.T) {
	first, err := podDocuments().Index()
	if err != nil {
		t.Fatal(err)
	}
	second, err := podDocuments().Index()
	if err != nil || first.Hash != second.Hash {
		t.Errorf("%s, %s, %v", first.Hash, second.Hash, err)
	}
}
