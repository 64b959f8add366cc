package registry

import (
	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func validateReplicaSet(set *appsv1.ReplicaSet) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateCounts(path, count{"replicas", ptr.Deref(set.Spec.Replicas, 0)}, count{"minReadySeconds", set.Spec.MinReadySeconds})
	return append(errs, validateSelectorAndTemplate(path, set.Spec.Selector, &set.Spec.Template)...)
}

func validateReplicaSetUpdate(set, old *appsv1.ReplicaSet) field.ErrorList {
	errs := validateReplicaSet(set)
	return append(errs, apivalidation.ValidateImmutableField(set.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))...)
}

func validateReplicaSetStatus(status *appsv1.ReplicaSetStatus, path *field.Path) field.ErrorList {
	errs := apivalidation.ValidateNonnegativeField(status.ObservedGeneration, path.Child("observedGeneration"))
	labeled, ready := count{"fullyLabeledReplicas", status.FullyLabeledReplicas}, count{"readyReplicas", status.ReadyReplicas}
	available := count{"availableReplicas", status.AvailableReplicas}
	errs = append(errs, validateCounts(path, count{"replicas", status.Replicas}, labeled, ready, available)...)
	errs = append(errs, validateAtMost(path, count{"status.replicas", status.Replicas}, labeled, ready, available)...)
	return append(errs, validateAtMost(path, ready, available)...)
}
