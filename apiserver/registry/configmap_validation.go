package registry

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// maxDataBytes is what all values of a ConfigMap or a Secret may hold together.
const maxDataBytes = 1 << 20

func validateConfigMap(obj Object) field.ErrorList {
	config := obj.(*corev1.ConfigMap)
	var errs field.ErrorList
	size := 0
	for _, key := range sortedKeys(config.Data) {
		path := field.NewPath("data").Key(key)
		errs = append(errs, invalidFor(path, key, validation.IsConfigMapKey(key))...)
		if _, both := config.BinaryData[key]; both {
			errs = append(errs, field.Invalid(path, key, "duplicate of key present in binaryData"))
		}
		size += len(config.Data[key])
	}
	for _, key := range sortedKeys(config.BinaryData) {
		errs = append(errs, invalidFor(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(config.BinaryData[key])
	}
	if size > maxDataBytes {
		errs = append(errs, field.TooLong(field.NewPath(""), "", maxDataBytes))
	}
	return errs
}

func validateConfigMapUpdate(obj, old Object) field.ErrorList {
	config, before := obj.(*corev1.ConfigMap), old.(*corev1.ConfigMap)
	var errs field.ErrorList
	if ptr.Deref(before.Immutable, false) {
		if !ptr.Deref(config.Immutable, false) {
			errs = append(errs, immutable("immutable"))
		}
		if !equality.Semantic.DeepEqual(config.Data, before.Data) {
			errs = append(errs, immutable("data"))
		}
		if !equality.Semantic.DeepEqual(config.BinaryData, before.BinaryData) {
			errs = append(errs, immutable("binaryData"))
		}
	}
	return append(errs, validateConfigMap(config)...)
}

// immutable is the error of a change to an object whose field "immutable" is true.
func immutable(name string) *field.Error {
	return field.Forbidden(field.NewPath(name), "field is immutable when `immutable` is set")
}

func sortedKeys[V any](values map[string]V) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
