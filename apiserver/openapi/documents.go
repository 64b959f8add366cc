package openapi

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is one served kind.
type Resource struct {
	Kind       apischema.GroupVersionKind
	Plural     string
	Namespaced bool
	// Object and List are struct types.
	Object, List reflect.Type
	// Updatable are the subresources that are read, updated and patched as the object itself: "status".
	Updatable []string
}

// Document is one body with the hash that stands for its content.
type Document struct {
	Body []byte
	Hash string // upper-case hexadecimal
}

// Documents holds all documents of a server. They are made when first asked for. Its methods may be called concurrently.
type Documents struct {
	version   string
	resources []Resource

	versions map[apischema.GroupVersion]func() (Document, error)
	v2JSON   func() (Document, error)
	v2Proto  func() (Document, error)
}

// New describes the resources of a server of the given version; nothing is built yet.
func New(version string, resources []Resource) *Documents {
	d := &Documents{version: version, resources: resources, versions: map[apischema.GroupVersion]func() (Document, error){}}
	for _, res := range resources {
		groupVersion := res.Kind.GroupVersion()
		if d.versions[groupVersion] == nil {
			d.versions[groupVersion] = sync.OnceValues(func() (Document, error) { return d.buildV3(groupVersion) })
		}
	}
	d.v2JSON = sync.OnceValues(d.buildV2)
	d.v2Proto = sync.OnceValues(d.buildV2Proto)
	return d
}

// V3 is the OpenAPI 3 document of a group's version; ok is false if that is not served.
func (d *Documents) V3(version apischema.GroupVersion) (document Document, ok bool, err error) {
	build, ok := d.versions[version]
	if !ok {
		return Document{}, false, nil
	}
	document, err = build()
	return document, true, err
}

// V2 is the OpenAPI 2 document of everything, as JSON.
func (d *Documents) V2() (Document, error) { return d.v2JSON() }

// V2Proto is V2 as gnostic's protobuf message, which is what kubectl asks for.
func (d *Documents) V2Proto() (Document, error) { return d.v2Proto() }

// Index lists the OpenAPI 3 documents and their hashes.
func (d *Documents) Index() (Document, error) {
	paths := schema{}
	for version := range d.versions {
		document, _, err := d.V3(version)
		if err != nil {
			return Document{}, err
		}
		path := "apis/" + version.String()
		if version.Group == "" {
			path = "api/" + version.Version
		}
		paths[path] = schema{"serverRelativeURL": "/openapi/v3/" + path + "?hash=" + document.Hash}
	}
	return newDocument(schema{"paths": paths})
}

func newDocument(content schema) (Document, error) {
	body, err := json.Marshal(content)
	if err != nil {
		return Document{}, fmt.Errorf("encode OpenAPI document: %w", err)
	}
	return Document{Body: body, Hash: hash(body)}, nil
}

func hash(body []byte) string {
	sum := sha512.Sum512(body)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func (d *Documents) info() schema {
	return schema{"title": "Kubernetes", "version": d.version}
}

func (d *Documents) buildV3(version apischema.GroupVersion) (Document, error) {
	paths, schemas := d.describe(v3, func(res Resource) bool { return res.Kind.GroupVersion() == version })
	return newDocument(schema{"openapi": "3.0.0", "info": d.info(), "paths": paths, "components": schema{"schemas": schemas}})
}

func (d *Documents) buildV2() (Document, error) {
	paths, schemas := d.describe(v2, func(Resource) bool { return true })
	return newDocument(schema{"swagger": "2.0", "info": d.info(), "paths": paths, "definitions": schemas})
}

func (d *Documents) buildV2Proto() (Document, error) {
	document, err := d.V2()
	if err != nil {
		return Document{}, err
	}
	parsed, err := openapi_v2.ParseDocument(document.Body)
	if err != nil {
		return Document{}, fmt.Errorf("parse OpenAPI 2 document: %w", err)
	}
	body, err := proto.Marshal(parsed)
	return Document{Body: body, Hash: document.Hash}, err
}

// describe makes the paths and definitions of the chosen resources.
func (d *Documents) describe(flavour flavour, chosen func(Resource) bool) (paths, schemas map[string]schema) {
	definitions := &definitions{flavour: flavour, schemas: map[string]schema{}}
	paths = map[string]schema{}
	for _, res := range d.resources {
		if !chosen(res) {
			continue
		}
		for path, item := range definitions.paths(res) {
			paths[path] = item
		}
		list := res.Kind.GroupVersion().WithKind(res.Kind.Kind + "List")
		definitions.mark(res.Object, res.Kind)
		definitions.mark(res.List, list)
	}
	return paths, definitions.schemas
}

// mark notes which kind a definition is.
func (d *definitions) mark(t reflect.Type, kind apischema.GroupVersionKind) {
	d.ref(t)
	d.schemas[typeName(t)]["x-kubernetes-group-version-kind"] = []schema{groupVersionKind(kind)}
}

// TypeOf is the struct type of an API object, for Resource.
func TypeOf(obj runtime.Object) reflect.Type { return reflect.TypeOf(obj).Elem() }
