package namespace

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// setConditions words what remains in a namespace as Kubernetes does; it returns whether anything changed.
func setConditions(status *corev1.NamespaceStatus, left remains, now metav1.Time) bool {
	changed := false
	for _, wanted := range conditions(left) {
		wanted.LastTransitionTime = now
		i := slices.IndexFunc(status.Conditions, func(c corev1.NamespaceCondition) bool { return c.Type == wanted.Type })
		if i < 0 {
			status.Conditions = append(status.Conditions, wanted)
			changed = true
			continue
		}
		current := &status.Conditions[i]
		if current.Status == wanted.Status {
			wanted.LastTransitionTime = current.LastTransitionTime
		}
		if *current != wanted {
			*current = wanted
			changed = true
		}
	}
	return changed
}

func conditions(left remains) []corev1.NamespaceCondition {
	all := []corev1.NamespaceCondition{
		{Type: corev1.NamespaceDeletionDiscoveryFailure, Reason: "ResourcesDiscovered", Message: "All resources successfully discovered"},
		{Type: corev1.NamespaceDeletionGVParsingFailure, Reason: "ParsedGroupVersions", Message: "All legacy kube types successfully parsed"},
		{Type: corev1.NamespaceDeletionContentFailure, Reason: "ContentDeleted", Message: "All content successfully deleted, may be waiting on finalization"},
		{Type: corev1.NamespaceContentRemaining, Reason: "ContentRemoved", Message: "All content successfully removed"},
		{Type: corev1.NamespaceFinalizersRemaining, Reason: "ContentHasNoFinalizers", Message: "All content-preserving finalizers finished"},
	}
	for i := range all {
		all[i].Status = corev1.ConditionFalse
	}
	hold := func(condition *corev1.NamespaceCondition, reason, intro string, parts []string) {
		if len(parts) > 0 {
			slices.Sort(parts)
			condition.Status, condition.Reason, condition.Message = corev1.ConditionTrue, reason, intro+strings.Join(parts, ", ")
		}
	}
	var failures, objects, finalizers []string
	for _, failure := range left.failures {
		failures = append(failures, failure.Error())
	}
	for resource, count := range left.objects {
		objects = append(objects, fmt.Sprintf("%s.%s has %d resource instances", resource.Resource, resource.Group, count))
	}
	for finalizer, count := range left.finalizers {
		finalizers = append(finalizers, fmt.Sprintf("%s in %d resource instances", finalizer, count))
	}
	hold(&all[2], "ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %d remaining: ", len(failures)), failures)
	hold(&all[3], "SomeResourcesRemain", "Some resources are remaining: ", objects)
	hold(&all[4], "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: ", finalizers)
	return all
}
