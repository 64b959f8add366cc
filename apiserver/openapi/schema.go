package openapi

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// schema is a JSON object: a schema, or a part of a document.
type schema = map[string]any

// flavour is what differs between OpenAPI 2 and 3.
type flavour int

const (
	v2 flavour = 2
	v3 flavour = 3
)

// refPrefix is where the definitions stand in the document.
func (f flavour) refPrefix() string {
	if f == v2 {
		return "#/definitions/"
	}
	return "#/components/schemas/"
}

// definitions collects the schemas of named types, by their OpenAPI names.
type definitions struct {
	flavour flavour
	schemas map[string]schema
}

// special are the types whose JSON is not what their Go structure says.
var special = map[reflect.Type]func(flavour) schema{
	reflect.TypeFor[metav1.Time]():          func(flavour) schema { return schema{"type": "string", "format": "date-time"} },
	reflect.TypeFor[metav1.MicroTime]():     func(flavour) schema { return schema{"type": "string", "format": "date-time"} },
	reflect.TypeFor[metav1.Duration]():      func(flavour) schema { return schema{"type": "string"} },
	reflect.TypeFor[metav1.FieldsV1]():      func(flavour) schema { return schema{"type": "object"} },
	reflect.TypeFor[runtime.RawExtension](): func(flavour) schema { return schema{"type": "object"} },
	reflect.TypeFor[resource.Quantity]():    func(f flavour) schema { return eitherOr(f, "", "string", "number") },
	reflect.TypeFor[intstr.IntOrString]():   func(f flavour) schema { return eitherOr(f, "int-or-string", "integer", "string") },
}

// eitherOr is a string that may also be a number; OpenAPI 2 cannot say so.
func eitherOr(f flavour, format string, types ...string) schema {
	s := schema{"type": "string"}
	if f == v3 {
		s = schema{"oneOf": []schema{{"type": types[0]}, {"type": types[1]}}}
	}
	if format != "" {
		s["format"] = format
	}
	return s
}

type named interface{ OpenAPIModelName() string }

type documented interface{ SwaggerDoc() map[string]string }

// typeName is the type's OpenAPI name: io.k8s.api.core.v1.Pod.
func typeName(t reflect.Type) string {
	if model, ok := reflect.New(t).Interface().(named); ok {
		return model.OpenAPIModelName()
	}
	// k8s.io/api/core/v1 becomes io.k8s.api.core.v1
	host, path, _ := strings.Cut(t.PkgPath(), "/")
	parts := strings.Split(host, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(path, "/", ".") + "." + t.Name()
}

// ref defines the type, if that is not done yet, and returns a reference to it.
func (d *definitions) ref(t reflect.Type) schema {
	name := typeName(t)
	if _, done := d.schemas[name]; !done {
		d.schemas[name] = schema{} // a type may refer to itself
		d.schemas[name] = d.define(t)
	}
	return schema{"$ref": d.flavour.refPrefix() + name}
}

// define is the schema of a named type.
func (d *definitions) define(t reflect.Type) schema {
	docs := docsOf(t)
	var s schema
	if make, ok := special[t]; ok {
		s = make(d.flavour)
	} else {
		s = schema{"type": "object"}
		properties, required := schema{}, []string(nil)
		d.addFields(t, properties, &required)
		if len(properties) > 0 {
			s["properties"] = properties
		}
		if len(required) > 0 {
			s["required"] = required
		}
	}
	if text := docs[""]; text != "" {
		s["description"] = text
	}
	return s
}

func docsOf(t reflect.Type) map[string]string {
	if doc, ok := reflect.New(t).Interface().(documented); ok {
		return doc.SwaggerDoc()
	}
	return nil
}

// addFields adds the struct's JSON fields, those of embedded structs included.
func (d *definitions) addFields(t reflect.Type, properties schema, required *[]string) {
	docs := docsOf(t)
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" || !field.IsExported():
			continue
		case name == "":
			embedded := field.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			if embedded.Kind() == reflect.Struct {
				d.addFields(embedded, properties, required)
			}
			continue
		}
		property := d.property(field, docs[name])
		properties[name] = property
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
		}
	}
}

// property is a field's schema with its description and merge rules.
func (d *definitions) property(field reflect.StructField, description string) schema {
	s := d.of(field.Type)
	if _, isRef := s["$ref"]; isRef && d.flavour == v3 {
		s = schema{"allOf": []schema{s}} // a reference of OpenAPI 3 has no siblings
	}
	if description != "" {
		s["description"] = description
	}
	strategy, key := field.Tag.Get("patchStrategy"), field.Tag.Get("patchMergeKey")
	if strategy != "" {
		s["x-kubernetes-patch-strategy"] = strategy
	}
	if key != "" {
		s["x-kubernetes-patch-merge-key"] = key
	}
	if strings.Contains(strategy, "merge") && field.Type.Kind() == reflect.Slice {
		if key == "" {
			s["x-kubernetes-list-type"] = "set"
		} else {
			s["x-kubernetes-list-type"] = "map"
			s["x-kubernetes-list-map-keys"] = listKeys(field, key)
		}
	}
	return s
}

// listKeys are what tells a list's elements apart. Ports need the protocol too; the merge key of patches is older than that.
func listKeys(field reflect.StructField, key string) []string {
	element := field.Type.Elem()
	switch {
	case key == "port" || key == "containerPort":
		if _, ok := element.FieldByName("Protocol"); ok {
			return []string{key, "protocol"}
		}
	case key == "topologyKey":
		if _, ok := element.FieldByName("WhenUnsatisfiable"); ok {
			return []string{key, "whenUnsatisfiable"}
		}
	}
	return []string{key}
}

// of is the schema of any type. The result is the caller's.
func (d *definitions) of(t reflect.Type) schema {
	if _, ok := special[t]; ok {
		return d.ref(t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.of(t.Elem())
	case reflect.Struct:
		return d.ref(t)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return schema{"type": "string", "format": "byte"}
		}
		return schema{"type": "array", "items": d.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": d.of(t.Elem())}
	default:
		return scalar(t.Kind())
	}
}

func scalar(kind reflect.Kind) schema {
	switch kind {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return schema{"type": "integer", "format": "int32"}
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return schema{"type": "integer", "format": "int64"}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number", "format": "double"}
	case reflect.String:
		return schema{"type": "string"}
	default:
		return schema{"type": "object"} // an interface
	}
}
