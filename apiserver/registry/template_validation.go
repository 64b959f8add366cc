package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateSelectorAndTemplate checks what Deployments and ReplicaSets have in common: which Pods, and how to make them.
func validateSelectorAndTemplate(path *field.Path, selector *metav1.LabelSelector, template *corev1.PodTemplateSpec) field.ErrorList {
	var errs field.ErrorList
	if selector == nil {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	} else {
		errs = append(errs, validateSelector(path.Child("selector"), selector)...)
		if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
			// Kubernetes says "deployment" of ReplicaSets too.
			errs = append(errs, field.Invalid(path.Child("selector"), selector, "empty selector is invalid for deployment"))
		}
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return append(errs, field.Invalid(path.Child("selector"), selector, "invalid label selector"))
	}
	return append(errs, validateTemplate(path.Child("template"), parsed, template)...)
}

func validateTemplate(path *field.Path, selector labels.Selector, template *corev1.PodTemplateSpec) field.ErrorList {
	var errs field.ErrorList
	if !selector.Empty() && !selector.Matches(labels.Set(template.Labels)) {
		errs = append(errs, field.Invalid(path.Child("metadata", "labels"), template.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, metavalidation.ValidateLabels(template.Labels, path.Child("labels"))...)
	errs = append(errs, apivalidation.ValidateAnnotations(template.Annotations, path.Child("annotations"))...)
	errs = append(errs, validatePodAnnotations(path.Child("annotations"), template.Annotations, &template.Spec)...)
	spec := path.Child("spec")
	errs = append(errs, validatePodSpec(spec, &template.Spec, inTemplate)...)
	if len(template.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	if template.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(spec.Child("restartPolicy"), template.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(spec.Child("activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported"))
	}
	return errs
}

// count is a number in a status or spec that must not be negative.
type count struct {
	name  string
	value int32
}

func validateCounts(path *field.Path, counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, count := range counts {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(count.value), path.Child(count.name))...)
	}
	return errs
}

// validateAtMost refuses counts that are greater than the limit, which is another count.
func validateAtMost(path *field.Path, limit count, counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, count := range counts {
		if count.value > limit.value {
			errs = append(errs, field.Invalid(path.Child(count.name), count.value, fmt.Sprintf("cannot be greater than %s", limit.name)))
		}
	}
	return errs
}
