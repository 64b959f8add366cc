package openapi

import (
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
)

// patchMedia are the forms of a patch's body.
var patchMedia = []string{"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"}

// queryParameters are those that clients look for, and their meaning in short.
var queryParameters = map[string]struct{ kind, description string }{
	"dryRun":          {"string", "When present, indicates that modifications should not be persisted. Valid values are: All."},
	"fieldManager":    {"string", "The name of the actor or entity that is making these changes."},
	"fieldValidation": {"string", "How unknown and duplicate fields are treated. Valid values are: Ignore, Warn, Strict."},
	"force":           {"boolean", "Whether an apply request takes over fields that other managers own."},
	"labelSelector":   {"string", "Restricts the list to objects with these labels."},
	"fieldSelector":   {"string", "Restricts the list to objects with these fields."},
	"limit":           {"integer", "The most objects to return; continue with the token in the answer."},
	"continue":        {"string", "The token of an earlier answer."},
	"watch":           {"boolean", "Stream changes instead of a list."},
	"pretty":          {"string", "If 'true', then the output is pretty printed."},
}

// paths describes the resource's endpoints.
func (d *definitions) paths(res Resource) map[string]schema {
	base := "/apis/" + res.Kind.Group + "/" + res.Kind.Version
	if res.Kind.Group == "" {
		base = "/api/" + res.Kind.Version
	}
	paths := map[string]schema{}
	collection := base + "/" + res.Plural
	if res.Namespaced {
		paths[collection] = schema{"get": d.operation(res, "list", "", "limit", "continue", "labelSelector", "fieldSelector", "watch")}
		collection = base + "/namespaces/{namespace}/" + res.Plural
	}
	paths[collection] = schema{
		"get":    d.operation(res, "list", "", "limit", "continue", "labelSelector", "fieldSelector", "watch"),
		"post":   d.operation(res, "post", "body", "dryRun", "fieldManager", "fieldValidation"),
		"delete": d.operation(res, "deletecollection", "", "dryRun", "labelSelector", "fieldSelector"),
	}
	d.addObjectPath(paths, res, collection+"/{name}")
	for _, name := range res.Updatable {
		d.addObjectPath(paths, res, collection+"/{name}/"+name)
		delete(paths[collection+"/{name}/"+name], "delete")
	}
	for path, item := range paths {
		item["parameters"] = d.pathParameters(path)
	}
	return paths
}

func (d *definitions) addObjectPath(paths map[string]schema, res Resource, path string) {
	paths[path] = schema{
		"get":    d.operation(res, "get", "", "pretty"),
		"put":    d.operation(res, "put", "body", "dryRun", "fieldManager", "fieldValidation"),
		"patch":  d.operation(res, "patch", "patch", "dryRun", "fieldManager", "fieldValidation", "force"),
		"delete": d.operation(res, "delete", "", "dryRun"),
	}
}

func (d *definitions) pathParameters(path string) []schema {
	var parameters []schema
	for _, name := range []string{"namespace", "name"} {
		if strings.Contains(path, "{"+name+"}") {
			parameters = append(parameters, d.parameter(name, "path", "string", ""))
		}
	}
	if parameters == nil {
		return []schema{}
	}
	return parameters
}

func (d *definitions) parameter(name, in, kind, description string) schema {
	p := schema{"name": name, "in": in, "uniqueItems": true}
	if description != "" {
		p["description"] = description
	}
	if in == "path" {
		p["required"] = true
	}
	if d.flavour == v2 {
		p["type"] = kind
	} else {
		delete(p, "uniqueItems")
		p["schema"] = schema{"type": kind, "uniqueItems": true}
	}
	return p
}

// operation describes one method. body is "", "body" (the object) or "patch".
func (d *definitions) operation(res Resource, action, body string, query ...string) schema {
	operation := schema{
		"x-kubernetes-action":             action,
		"x-kubernetes-group-version-kind": groupVersionKind(res.Kind),
		"tags":                            []string{strings.NewReplacer(".", "", "/", "_").Replace(res.Kind.GroupVersion().String())},
	}
	parameters := []schema{}
	for _, name := range query {
		known := queryParameters[name]
		parameters = append(parameters, d.parameter(name, "query", known.kind, known.description))
	}
	answered := res.Object
	if action == "list" {
		answered = res.List
	}
	if action == "deletecollection" || action == "delete" {
		answered = reflect.TypeFor[metav1.Status]()
	}
	d.describeBodies(operation, &parameters, d.ref(answered), res, body)
	operation["parameters"] = parameters
	return operation
}

// describeBodies says what is sent and answered.
func (d *definitions) describeBodies(operation schema, parameters *[]schema, answer schema, res Resource, body string) {
	if d.flavour == v2 {
		operation["produces"] = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
		operation["responses"] = schema{"200": schema{"description": "OK", "schema": answer}}
		switch body {
		case "body":
			*parameters = append(*parameters, schema{"name": "body", "in": "body", "required": true, "schema": d.ref(res.Object)})
		case "patch":
			operation["consumes"] = patchMedia
			*parameters = append(*parameters, schema{"name": "body", "in": "body", "required": true, "schema": d.ref(reflect.TypeFor[metav1.Patch]())})
		}
		return
	}
	content := func(s schema, media ...string) schema {
		all := schema{}
		for _, name := range media {
			all[name] = schema{"schema": s}
		}
		return schema{"content": all}
	}
	produced := content(answer, "application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
	produced["description"] = "OK"
	operation["responses"] = schema{"200": produced}
	switch body {
	case "body":
		operation["requestBody"] = content(d.ref(res.Object), "application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
	case "patch":
		operation["requestBody"] = content(d.ref(reflect.TypeFor[metav1.Patch]()), patchMedia...)
	}
}

func groupVersionKind(kind apischema.GroupVersionKind) schema {
	return schema{"group": kind.Group, "version": kind.Version, "kind": kind.Kind}
}
