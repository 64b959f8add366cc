package registry

import (
	"fmt"
	"math"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

const immutablePodSpec = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n%v"

func validatePodUpdate(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateAnyPod(pod)
	if len(pod.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(path.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(pod.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(path.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	if deadlineErrs := validateDeadlineUpdate(path.Child("activeDeadlineSeconds"), pod.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds); len(deadlineErrs) > 0 {
		return append(errs, deadlineErrs...)
	}
	errs = append(errs, validateTolerationsUpdate(path.Child("tolerations"), pod.Spec.Tolerations, old.Spec.Tolerations)...)
	errs = append(errs, validateGatesUpdate(path.Child("schedulingGates"), pod.Spec.SchedulingGates, old.Spec.SchedulingGates)...)
	if equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		return errs
	}
	// What may change is made the same; any other difference is an error.
	same := withMutableFields(pod.Spec.DeepCopy(), old.Spec.DeepCopy())
	if !equality.Semantic.DeepEqual(*same, old.Spec) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf(immutablePodSpec, diff.Diff(old.Spec, *same))))
	}
	return errs
}

// withMutableFields sets the fields of spec that an update may change to what they were.
func withMutableFields(spec, old *corev1.PodSpec) *corev1.PodSpec {
	for i := range spec.Containers {
		spec.Containers[i].Image = old.Containers[i].Image
	}
	for i := range spec.InitContainers {
		spec.InitContainers[i].Image = old.InitContainers[i].Image
	}
	spec.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	spec.SchedulingGates = old.SchedulingGates
	spec.Tolerations = old.Tolerations
	if ptr.Deref(old.TerminationGracePeriodSeconds, 0) < 0 && ptr.Deref(spec.TerminationGracePeriodSeconds, 0) == 1 {
		spec.TerminationGracePeriodSeconds = old.TerminationGracePeriodSeconds
	}
	return spec
}

func validateDeadlineUpdate(path *field.Path, deadline, old *int64) field.ErrorList {
	switch {
	case deadline == nil && old != nil:
		return field.ErrorList{field.Invalid(path, deadline, "must not update from a positive integer to nil value")}
	case deadline == nil:
		return nil
	case *deadline < 0 || *deadline > math.MaxInt32:
		return field.ErrorList{field.Invalid(path, *deadline, validation.InclusiveRangeError(0, math.MaxInt32))}
	case old != nil && *old < *deadline:
		return field.ErrorList{field.Invalid(path, *deadline, "must be less than or equal to previous value")}
	}
	return nil
}

func validateTolerationsUpdate(path *field.Path, tolerations, old []corev1.Toleration) field.ErrorList {
	for _, before := range old {
		kept := false
		for _, toleration := range tolerations {
			before.TolerationSeconds = toleration.TolerationSeconds
			kept = kept || equality.Semantic.DeepEqual(before, toleration)
		}
		if !kept {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func validateGatesUpdate(path *field.Path, gates, old []corev1.PodSchedulingGate) field.ErrorList {
	known := seen[string]{}
	for _, gate := range old {
		known[gate.Name] = true
	}
	var errs field.ErrorList
	for i, gate := range gates {
		if !known[gate.Name] {
			errs = append(errs, field.Forbidden(path.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name)))
		}
	}
	return errs
}

func validatePodStatusUpdate(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	for i, condition := range pod.Status.Conditions {
		errs = append(errs, validateQualifiedName(field.NewPath("metadata", "conditions").Index(i).Child("Type"), string(condition.Type))...)
	}
	if nominated := pod.Status.NominatedNodeName; nominated != "" && nominated != old.Status.NominatedNodeName {
		errs = append(errs, invalidFor(path.Child("nominatedNodeName"), nominated, apivalidation.NameIsDNSSubdomain(nominated, false))...)
	}
	errs = append(errs, apivalidation.ValidateImmutableField(pod.Status.QOSClass, old.Status.QOSClass, path.Child("qosClass"))...)
	errs = append(errs, validateContainerStates(path.Child("containerStatuses"), pod.Status.ContainerStatuses, old.Status.ContainerStatuses, old)...)
	errs = append(errs, validateContainerStates(path.Child("initContainerStatuses"), pod.Status.InitContainerStatuses, old.Status.InitContainerStatuses, old)...)
	const onePerFamily = "may specify no more than one IP for each IP family"
	var podIPs, hostIPs []netip.Addr
	for i, ip := range pod.Status.PodIPs {
		errs = append(errs, validation.IsValidIP(path.Child("podIPs").Index(i), ip.IP)...)
		podIPs = appendAddress(podIPs, ip.IP)
	}
	if !oneOfEachFamily(podIPs) {
		errs = append(errs, field.Invalid(path.Child("podIPs"), pod.Status.PodIPs, onePerFamily))
	}
	for i, ip := range pod.Status.HostIPs {
		errs = append(errs, validation.IsValidIP(path.Child("hostIPs").Index(i), ip.IP)...)
		hostIPs = appendAddress(hostIPs, ip.IP)
	}
	if !oneOfEachFamily(hostIPs) {
		errs = append(errs, field.Invalid(path.Child("hostIPs"), pod.Status.HostIPs, onePerFamily))
	}
	if len(pod.Status.HostIPs) > 0 && pod.Status.HostIP != pod.Status.HostIPs[0].IP {
		errs = append(errs, field.Invalid(path.Child("hostIPs").Index(0).Child("ip"), pod.Status.HostIPs[0].IP, "must be equal to `hostIP`"))
	}
	return errs
}

// validateContainerStates lets no container run again that must not restart.
func validateContainerStates(path *field.Path, statuses, old []corev1.ContainerStatus, pod *corev1.Pod) field.ErrorList {
	policy := pod.Spec.RestartPolicy
	if policy == corev1.RestartPolicyAlways {
		return nil
	}
	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		sidecars[pod.Spec.InitContainers[i].Name] = isSidecar(&pod.Spec.InitContainers[i])
	}
	var errs field.ErrorList
	for i, before := range old {
		ended := before.State.Terminated
		if ended == nil || sidecars[before.Name] || (ended.ExitCode != 0 && policy == corev1.RestartPolicyOnFailure) {
			continue
		}
		for _, status := range statuses {
			if status.Name == before.Name && status.State.Terminated == nil {
				errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
		}
	}
	return errs
}
