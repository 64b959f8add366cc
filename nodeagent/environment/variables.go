package environment

import (
	"context"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Sources reads what variables refer to. A missing object is an error for which apierrors.IsNotFound is true and whose text
// is Kubernetes' `configmap "name" not found` or `secret "name" not found`.
type Sources interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// Variables are a container's environment variables that its Pod asks for, in order and without doubles: those of Services, of
// envFrom, of env; a later one wins over an earlier one of the same name. The image's own ENV and HOSTNAME are not among them.
// Its errors are what a learner sees behind CreateContainerConfigError, in Kubernetes' words.
func Variables(ctx context.Context, pod *v1.Pod, container *v1.Container, services []*v1.Service, sources Sources, facts Facts) ([]v1.EnvVar, error) {
	result := newVariables()
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	serviceVariables := map[string]string{}
	for _, variable := range ServiceVariables(services, pod.Namespace, links) {
		serviceVariables[variable.Name] = variable.Value
	}
	for i := range container.EnvFrom {
		if err := addSource(ctx, result, pod.Namespace, &container.EnvFrom[i], sources); err != nil {
			return nil, err
		}
	}
	lookup := func(name string) (string, bool) {
		if value, known := result.values[name]; known {
			return value, true
		}
		value, known := serviceVariables[name]
		return value, known
	}
	for i := range container.Env {
		variable := &container.Env[i]
		value, set, err := valueOf(ctx, pod, container, variable, sources, facts, lookup)
		if err != nil {
			return nil, err
		}
		if set {
			result.set(variable.Name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(serviceVariables)) {
		if _, known := result.values[name]; !known {
			result.set(name, serviceVariables[name])
		}
	}
	return result.list(), nil
}

func addSource(ctx context.Context, result *variables, namespace string, source *v1.EnvFromSource, sources Sources) error {
	switch {
	case source.ConfigMapRef != nil:
		configMap, err := sources.ConfigMap(ctx, namespace, source.ConfigMapRef.Name)
		if err != nil {
			return unlessOptional(err, source.ConfigMapRef.Optional)
		}
		for _, key := range slices.Sorted(maps.Keys(configMap.Data)) {
			result.set(source.Prefix+key, configMap.Data[key])
		}
	case source.SecretRef != nil:
		secret, err := sources.Secret(ctx, namespace, source.SecretRef.Name)
		if err != nil {
			return unlessOptional(err, source.SecretRef.Optional)
		}
		for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
			result.set(source.Prefix+key, string(secret.Data[key]))
		}
	}
	return nil
}

// valueOf is one entry's value; set is false if it comes from something optional that is not there.
func valueOf(ctx context.Context, pod *v1.Pod, container *v1.Container, variable *v1.EnvVar, sources Sources, facts Facts,
	lookup func(string) (string, bool)) (value string, set bool, err error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return Expand(variable.Value, lookup), true, nil
	case from.FieldRef != nil:
		value, err = Field(pod, from.FieldRef.FieldPath, facts)
	case from.ResourceFieldRef != nil:
		value, err = Resource(pod, container, from.ResourceFieldRef, facts)
	case from.ConfigMapKeyRef != nil:
		configMap, err := sources.ConfigMap(ctx, pod.Namespace, from.ConfigMapKeyRef.Name)
		if err != nil {
			return "", false, unlessOptional(err, from.ConfigMapKeyRef.Optional)
		}
		value, found := configMap.Data[from.ConfigMapKeyRef.Key]
		if !found && !isTrue(from.ConfigMapKeyRef.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", from.ConfigMapKeyRef.Key, pod.Namespace, configMap.Name)
		}
		return value, found, nil
	case from.SecretKeyRef != nil:
		secret, err := sources.Secret(ctx, pod.Namespace, from.SecretKeyRef.Name)
		if err != nil {
			return "", false, unlessOptional(err, from.SecretKeyRef.Optional)
		}
		value, found := secret.Data[from.SecretKeyRef.Key]
		if !found && !isTrue(from.SecretKeyRef.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", from.SecretKeyRef.Key, pod.Namespace, secret.Name)
		}
		return string(value), found, nil
	default:
		return "", false, fmt.Errorf("environment variable %s has a valueFrom of a kind that kubelite does not have", variable.Name)
	}
	return value, err == nil, err
}

func unlessOptional(err error, optional *bool) error {
	if isTrue(optional) && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func isTrue(value *bool) bool { return value != nil && *value }

// variables keeps the order in which names were first set.
type variables struct {
	names  []string
	values map[string]string
}

func newVariables() *variables { return &variables{values: map[string]string{}} }

func (v *variables) set(name, value string) {
	if _, known := v.values[name]; !known {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *variables) list() []v1.EnvVar {
	list := make([]v1.EnvVar, 0, len(v.names))
	for _, name := range v.names {
		list = append(list, v1.EnvVar{Name: name, Value: v.values[name]})
	}
	return list
}
