package registry

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	// referableFields are the fields that any reference into a Pod may name.
	referableFields = []string{
		"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
		"spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs",
		"status.phase", "status.podIP", "status.podIPs",
	}
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	volumeFields   = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
)

func validateEnv(path *field.Path, env []corev1.EnvVar) field.ErrorList {
	var errs field.ErrorList
	for i, variable := range env {
		path := path.Index(i)
		if variable.Name == "" {
			errs = append(errs, field.Required(path.Child("name"), ""))
		} else {
			errs = append(errs, invalidFor(path.Child("name"), variable.Name, validation.IsRelaxedEnvVarName(variable.Name))...)
		}
		if variable.ValueFrom != nil {
			errs = append(errs, validateEnvSource(path.Child("valueFrom"), &variable)...)
		}
	}
	return errs
}

func validateEnvSource(path *field.Path, variable *corev1.EnvVar) field.ErrorList {
	var errs field.ErrorList
	from, sources := variable.ValueFrom, 0
	if from.FieldRef != nil {
		sources++
		errs = append(errs, validateFieldRef(path.Child("fieldRef"), from.FieldRef, envFields)...)
	}
	if from.ResourceFieldRef != nil {
		sources++
		errs = append(errs, validateResourceFieldRef(path.Child("resourceFieldRef"), from.ResourceFieldRef)...)
	}
	if from.ConfigMapKeyRef != nil {
		sources++
		errs = append(errs, validateKeyRef(path.Child("configMapKeyRef"), from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)...)
	}
	if from.SecretKeyRef != nil {
		sources++
		errs = append(errs, validateKeyRef(path.Child("secretKeyRef"), from.SecretKeyRef.Name, from.SecretKeyRef.Key)...)
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
	case variable.Value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKeyRef(path *field.Path, name, key string) field.ErrorList {
	errs := invalidFor(path.Child("name"), name, apivalidation.NameIsDNSSubdomain(name, false))
	if key == "" {
		return append(errs, field.Required(path.Child("key"), ""))
	}
	return append(errs, invalidFor(path.Child("key"), key, validation.IsConfigMapKey(key))...)
}

// validateFieldRef checks a reference such as "status.podIP" or "metadata.labels['app']".
func validateFieldRef(path *field.Path, ref *corev1.ObjectFieldSelector, supported []string) field.ErrorList {
	if ref.APIVersion == "" {
		return field.ErrorList{field.Required(path.Child("apiVersion"), "")}
	}
	if ref.FieldPath == "" {
		return field.ErrorList{field.Required(path.Child("fieldPath"), "")}
	}
	name, key, subscripted := strings.Cut(strings.TrimSuffix(ref.FieldPath, "']"), "['")
	subscripted = subscripted && strings.HasSuffix(ref.FieldPath, "']")
	if !subscripted {
		name = ref.FieldPath
	}
	if ref.APIVersion != "v1" {
		return field.ErrorList{field.Invalid(path.Child("fieldPath"), ref.FieldPath, fmt.Sprintf("error converting fieldPath: unsupported pod version: %s", ref.APIVersion))}
	}
	if !slices.Contains(referableFields, name) {
		return field.ErrorList{field.Invalid(path.Child("fieldPath"), ref.FieldPath, fmt.Sprintf("error converting fieldPath: field label not supported: %s", ref.FieldPath))}
	}
	switch {
	case subscripted && name == "metadata.annotations":
		return validateQualifiedName(path, strings.ToLower(key))
	case subscripted && name == "metadata.labels":
		return validateQualifiedName(path, key)
	case subscripted:
		return field.ErrorList{field.Invalid(path, name, "does not support subscript")}
	case !slices.Contains(supported, name):
		return field.ErrorList{field.NotSupported(path.Child("fieldPath"), name, supported)}
	}
	return nil
}

func validateResourceFieldRef(path *field.Path, ref *corev1.ResourceFieldSelector) field.ErrorList {
	var errs field.ErrorList
	hugePages := strings.HasPrefix(ref.Resource, "limits.hugepages-") || strings.HasPrefix(ref.Resource, "requests.hugepages-")
	if ref.Resource == "" {
		errs = append(errs, field.Required(path.Child("resource"), ""))
	} else if !hugePages && !slices.Contains(resourceFields, ref.Resource) {
		errs = append(errs, field.NotSupported(path.Child("resource"), ref.Resource, resourceFields))
	}
	if ref.Divisor.IsZero() {
		return errs
	}
	units := []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
	text := "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource"
	_, name, _ := strings.Cut(ref.Resource, ".")
	switch {
	case name == "cpu":
		units, text = []string{"1m", "1"}, "only divisor's values 1m and 1 are supported with the cpu resource"
	case name == "ephemeral-storage":
		text = strings.Replace(text, "memory", "local ephemeral storage", 1)
	case hugePages:
		text = strings.Replace(text, "memory", "hugepages", 1)
	}
	if !slices.Contains(units, ref.Divisor.String()) {
		errs = append(errs, field.Invalid(path.Child("divisor"), ref.Resource, text))
	}
	return errs
}

func validateEnvFrom(path *field.Path, sources []corev1.EnvFromSource) field.ErrorList {
	var errs field.ErrorList
	for i, source := range sources {
		indexed := path.Index(i)
		if source.Prefix != "" {
			errs = append(errs, invalidFor(indexed.Child("prefix"), source.Prefix, validation.IsRelaxedEnvVarName(source.Prefix))...)
		}
		count := 0
		if source.ConfigMapRef != nil {
			count++
			errs = append(errs, validateReferenceName(indexed.Child("configMapRef", "name"), source.ConfigMapRef.Name)...)
		}
		if source.SecretRef != nil {
			count++
			errs = append(errs, validateReferenceName(indexed.Child("secretRef", "name"), source.SecretRef.Name)...)
		}
		switch count {
		case 0:
			errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
		case 2:
			errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

func validateReferenceName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return invalidFor(path, name, apivalidation.NameIsDNSSubdomain(name, true))
}
