package apiserver

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// apply is server-side apply (KEP-555): the fields in the patch become its manager's, and those that the manager applied
// before and no longer does are removed. current is nil where there is no object.
func (c *call) apply(patch patchRequest, subresource string, current Object) (Object, error) {
	applied, err := c.decodeApply(patch)
	if err != nil {
		return nil, err
	}
	manager, err := c.fieldManagers.of(c.resource, subresource)
	if err != nil {
		return nil, err
	}
	live := c.resource.New()
	if current != nil {
		live = c.resource.wire(current)
	}
	live.GetObjectKind().SetGroupVersionKind(c.resource.GroupVersionKind)
	if current == nil {
		live.SetName(c.name)
		live.SetNamespace(c.namespace)
	}
	if subresource == "" && len(live.GetManagedFields()) == 0 {
		c.ownAppliedByClient(manager, live)
	}
	merged, err := manager.Apply(live, applied, patch.options.fieldManager, patch.options.force)
	if err != nil {
		return nil, applyError(err)
	}
	obj, ok := merged.(Object)
	if !ok {
		return nil, fmt.Errorf("apply: %T is no object with metadata", merged)
	}
	return c.resource.internal(obj), nil
}

// decodeApply reads the applied configuration; fields named twice are errors or warnings as asked for. Unknown fields are
// refused later, because an owner of an unknown field cannot be kept.
func (c *call) decodeApply(patch patchRequest) (*unstructured.Unstructured, error) {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	if err := yaml.Unmarshal(patch.body, &obj.Object); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	if patch.options.fieldValidation != metav1.FieldValidationIgnore {
		if err := yaml.UnmarshalStrict(patch.body, &map[string]any{}); err != nil {
			if patch.options.fieldValidation == metav1.FieldValidationStrict {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding YAML: %v", err))
			}
			c.warn(err.Error())
		}
	}
	if obj.GroupVersionKind() != c.resource.GroupVersionKind {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Incorrect version specified in apply patch. Specified patch version: %s, expected: %s",
			obj.GroupVersionKind(), c.resource.GroupVersionKind))
	}
	if err := c.matchApplied(obj); err != nil {
		return nil, err
	}
	return obj, nil
}

// matchApplied refuses a configuration for another object.
func (c *call) matchApplied(obj *unstructured.Unstructured) error {
	if name := obj.GetName(); name != "" && name != c.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", name, c.name))
	}
	if namespace := obj.GetNamespace(); namespace != "" && namespace != c.namespace {
		return apierrors.NewBadRequest(fmt.Sprintf("the namespace of the object (%s) does not match the namespace on the request (%s)", namespace, c.namespace))
	}
	return nil
}

// applyError passes conflicts on as they are; the rest is about the configuration that was sent.
func applyError(err error) error {
	var known apierrors.APIStatus
	if errors.As(err, &known) || runtime.IsStrictDecodingError(err) {
		return err
	}
	return apierrors.NewBadRequest(err.Error())
}
