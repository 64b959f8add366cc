package registry

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateScheduling checks what the scheduler reads of a Pod spec, besides nodeSelector and resources.
func validateScheduling(path *field.Path, spec *corev1.PodSpec) field.ErrorList {
	errs := validateAffinity(path.Child("affinity"), spec.Affinity)
	for i, gate := range spec.ReadinessGates {
		errs = append(errs, validateQualifiedName(path.Child("readinessGates").Index(i).Child("conditionType"), string(gate.ConditionType))...)
	}
	gates := seen[string]{}
	for i, gate := range spec.SchedulingGates {
		path := path.Child("schedulingGates").Index(i)
		errs = append(errs, validateQualifiedName(path, gate.Name)...)
		if gates.before(gate.Name) {
			errs = append(errs, field.Duplicate(path, gate.Name))
		}
	}
	errs = append(errs, validateTopologySpread(path.Child("topologySpreadConstraints"), spec.TopologySpreadConstraints)...)
	errs = append(errs, validateTolerations(path.Child("tolerations"), spec.Tolerations)...)
	if spec.PreemptionPolicy != nil {
		errs = append(errs, oneOf(path.Child("preemptionPolicy"), *spec.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

func validateTolerations(path *field.Path, tolerations []corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i, toleration := range tolerations {
		path := path.Index(i)
		if toleration.Key != "" {
			errs = append(errs, metavalidation.ValidateLabelName(toleration.Key, path.Child("key"))...)
		} else if toleration.Operator != corev1.TolerationOpExists {
			errs = append(errs, field.Invalid(path.Child("operator"), toleration.Operator,
				"operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
		}
		if toleration.TolerationSeconds != nil && toleration.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(path.Child("effect"), toleration.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
		}
		switch toleration.Operator {
		case corev1.TolerationOpEqual, "":
			if messages := validation.IsValidLabelValue(toleration.Value); len(messages) > 0 {
				errs = append(errs, field.Invalid(path.Child("operator"), toleration.Value, strings.Join(messages, ";")))
			}
		case corev1.TolerationOpExists:
			if toleration.Value != "" {
				errs = append(errs, field.Invalid(path.Child("operator"), toleration.Value, "value must be empty when `operator` is 'Exists'"))
			}
		default:
			errs = append(errs, field.NotSupported(path.Child("operator"), toleration.Operator,
				[]corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		if toleration.Effect != "" {
			errs = append(errs, validateTaintEffect(path.Child("effect"), toleration.Effect)...)
		}
	}
	return errs
}

func validateTaintEffect(path *field.Path, effect corev1.TaintEffect) field.ErrorList {
	return oneOf(path, effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}

func validateAffinity(path *field.Path, affinity *corev1.Affinity) field.ErrorList {
	const required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
	if affinity == nil {
		return nil
	}
	var errs field.ErrorList
	if node := affinity.NodeAffinity; node != nil {
		path := path.Child("nodeAffinity")
		if node.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			errs = append(errs, validateNodeSelector(path.Child(required), node.RequiredDuringSchedulingIgnoredDuringExecution)...)
		}
		for i, term := range node.PreferredDuringSchedulingIgnoredDuringExecution {
			path := path.Child(preferred).Index(i)
			errs = append(errs, validateWeight(path, term.Weight)...)
			errs = append(errs, validateNodeSelectorTerm(path.Child("preference"), &term.Preference)...)
		}
	}
	pods := func(path *field.Path, must []corev1.PodAffinityTerm, may []corev1.WeightedPodAffinityTerm) {
		for i := range must {
			errs = append(errs, validatePodAffinityTerm(path.Child(required).Index(i), &must[i])...)
		}
		for i := range may {
			path := path.Child(preferred).Index(i)
			errs = append(errs, validateWeight(path, may[i].Weight)...)
			errs = append(errs, validatePodAffinityTerm(path.Child("podAffinityTerm"), &may[i].PodAffinityTerm)...)
		}
	}
	if with := affinity.PodAffinity; with != nil {
		pods(path.Child("podAffinity"), with.RequiredDuringSchedulingIgnoredDuringExecution, with.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if without := affinity.PodAntiAffinity; without != nil {
		pods(path.Child("podAntiAffinity"), without.RequiredDuringSchedulingIgnoredDuringExecution, without.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return errs
}

func validateWeight(path *field.Path, weight int32) field.ErrorList {
	if weight <= 0 || weight > 100 {
		return field.ErrorList{field.Invalid(path.Child("weight"), weight, "must be in the range 1-100")}
	}
	return nil
}

func validatePodAffinityTerm(path *field.Path, term *corev1.PodAffinityTerm) field.ErrorList {
	errs := validateSelector(path.Child("labelSelector"), term.LabelSelector)
	errs = append(errs, validateSelector(path.Child("namespaceSelector"), term.NamespaceSelector)...)
	for _, name := range term.Namespaces {
		errs = append(errs, invalidFor(path.Child("namespace"), name, apivalidation.ValidateNamespaceName(name, false))...)
	}
	if term.TopologyKey == "" {
		errs = append(errs, field.Required(path.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metavalidation.ValidateLabelName(term.TopologyKey, path.Child("topologyKey"))...)
}

func validateSelector(path *field.Path, selector *metav1.LabelSelector) field.ErrorList {
	return metavalidation.ValidateLabelSelector(selector, metavalidation.LabelSelectorValidationOptions{}, path)
}

func validateNodeSelector(path *field.Path, selector *corev1.NodeSelector) field.ErrorList {
	path = path.Child("nodeSelectorTerms")
	if len(selector.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(path, "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i := range selector.NodeSelectorTerms {
		errs = append(errs, validateNodeSelectorTerm(path.Index(i), &selector.NodeSelectorTerms[i])...)
	}
	return errs
}

func validateNodeSelectorTerm(path *field.Path, term *corev1.NodeSelectorTerm) field.ErrorList {
	var errs field.ErrorList
	for i, requirement := range term.MatchExpressions {
		errs = append(errs, validateNodeRequirement(path.Child("matchExpressions").Index(i), requirement)...)
	}
	for i, requirement := range term.MatchFields {
		path := path.Child("matchFields").Index(i)
		switch requirement.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(requirement.Values) != 1 {
				errs = append(errs, field.Required(path.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
			}
		default:
			errs = append(errs, field.Invalid(path.Child("operator"), requirement.Operator, "not a valid selector operator"))
		}
		if requirement.Key != metav1.ObjectNameField {
			errs = append(errs, field.Invalid(path.Child("key"), requirement.Key, "not a valid field selector key"))
		}
	}
	return errs
}

func validateNodeRequirement(path *field.Path, requirement corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	values := path.Child("values")
	switch requirement.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(requirement.Values) == 0 {
			errs = append(errs, field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(requirement.Values) > 0 {
			errs = append(errs, field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(requirement.Values) != 1 {
			errs = append(errs, field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), requirement.Operator, "not a valid selector operator"))
	}
	errs = append(errs, metavalidation.ValidateLabelName(requirement.Key, path.Child("key"))...)
	for i, value := range requirement.Values {
		errs = append(errs, invalidFor(values.Index(i), value, validation.IsValidLabelValue(value))...)
	}
	return errs
}

func validateTopologySpread(path *field.Path, constraints []corev1.TopologySpreadConstraint) field.ErrorList {
	var errs field.ErrorList
	pairs := seen[string]{}
	for i, constraint := range constraints {
		path := path.Index(i)
		if constraint.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(path.Child("maxSkew"), constraint.MaxSkew, "must be greater than zero"))
		}
		if constraint.TopologyKey == "" {
			errs = append(errs, field.Required(path.Child("topologyKey"), "can not be empty"))
		}
		errs = append(errs, metavalidation.ValidateLabelName(constraint.TopologyKey, path.Child("topologyKey"))...)
		errs = append(errs, optionallyOneOf(path.Child("whenUnsatisfiable"), &constraint.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
		pair := fmt.Sprintf("{%v, %v}", constraint.TopologyKey, constraint.WhenUnsatisfiable)
		if pairs.before(pair) {
			errs = append(errs, field.Duplicate(path.Child("{topologyKey, whenUnsatisfiable}"), pair))
		}
		errs = append(errs, validateSelector(path.Child("labelSelector"), constraint.LabelSelector)...)
	}
	return errs
}
