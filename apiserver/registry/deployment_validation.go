package registry

import (
	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func validateDeployment(deployment *appsv1.Deployment) field.ErrorList {
	path, spec := field.NewPath("spec"), &deployment.Spec
	errs := validateCounts(path, count{"replicas", ptr.Deref(spec.Replicas, 0)})
	errs = append(errs, validateSelectorAndTemplate(path, spec.Selector, &spec.Template)...)
	errs = append(errs, validateStrategy(path.Child("strategy"), &spec.Strategy)...)
	errs = append(errs, validateCounts(path, count{"minReadySeconds", spec.MinReadySeconds},
		count{"revisionHistoryLimit", ptr.Deref(spec.RevisionHistoryLimit, 0)})...)
	if deadline := spec.ProgressDeadlineSeconds; deadline != nil {
		errs = append(errs, validateCounts(path, count{"progressDeadlineSeconds", *deadline})...)
		if *deadline <= spec.MinReadySeconds {
			errs = append(errs, field.Invalid(path.Child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func validateDeploymentUpdate(deployment, old *appsv1.Deployment) field.ErrorList {
	errs := validateDeployment(deployment)
	return append(errs, apivalidation.ValidateImmutableField(deployment.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))...)
}

func validateStrategy(path *field.Path, strategy *appsv1.DeploymentStrategy) field.ErrorList {
	rolling := path.Child("rollingUpdate")
	switch strategy.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if strategy.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if strategy.RollingUpdate == nil {
			return field.ErrorList{field.Required(rolling, "this should be defaulted and never be nil")}
		}
		return validateRollingUpdate(rolling, strategy.RollingUpdate)
	}
	return field.ErrorList{field.NotSupported(path, *strategy,
		[]appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType})}
}

func validateRollingUpdate(path *field.Path, rolling *appsv1.RollingUpdateDeployment) field.ErrorList {
	unavailable := ptr.Deref(rolling.MaxUnavailable, intstr.IntOrString{})
	surge := ptr.Deref(rolling.MaxSurge, intstr.IntOrString{})
	errs := validateNumberOrPercent(path.Child("maxUnavailable"), unavailable)
	errs = append(errs, validateNumberOrPercent(path.Child("maxSurge"), surge)...)
	if percentOrNumber(unavailable) == 0 && percentOrNumber(surge) == 0 {
		errs = append(errs, field.Invalid(path.Child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"))
	}
	if unavailable.Type == intstr.String && percentOrNumber(unavailable) > 100 {
		errs = append(errs, field.Invalid(path.Child("maxUnavailable"), unavailable, "must not be greater than 100%"))
	}
	return errs
}

func validateNumberOrPercent(path *field.Path, value intstr.IntOrString) field.ErrorList {
	if value.Type == intstr.String {
		return invalidFor(path, value, validation.IsValidPercent(value.StrVal))
	}
	return apivalidation.ValidateNonnegativeField(int64(value.IntValue()), path)
}

// percentOrNumber is the number before the % or the number itself; 0 for what is neither.
func percentOrNumber(value intstr.IntOrString) int {
	number, err := intstr.GetScaledValueFromIntOrPercent(&value, 100, false)
	if err != nil {
		return 0
	}
	return number
}

func validateDeploymentStatus(status, old *appsv1.DeploymentStatus) field.ErrorList {
	path := field.NewPath("status")
	errs := apivalidation.ValidateNonnegativeField(status.ObservedGeneration, path.Child("observedGeneration"))
	replicas := count{"status.replicas", status.Replicas}
	updated, ready := count{"updatedReplicas", status.UpdatedReplicas}, count{"readyReplicas", status.ReadyReplicas}
	available := count{"availableReplicas", status.AvailableReplicas}
	errs = append(errs, validateCounts(path, count{"replicas", status.Replicas}, updated, ready, available,
		count{"unavailableReplicas", status.UnavailableReplicas})...)
	errs = append(errs, validateAtMost(path, replicas, updated, ready, available)...)
	errs = append(errs, validateAtMost(path, ready, available)...)
	if before := old.CollisionCount; before != nil {
		if status.CollisionCount == nil || *status.CollisionCount < *before {
			errs = append(errs, field.Invalid(path.Child("collisionCount"), ptr.Deref(status.CollisionCount, 0), "cannot be decremented"))
		}
	}
	return errs
}
