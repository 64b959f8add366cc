package registry

import (
	corev1 "k8s.io/api/core/v1"
)

// qosClass is Guaranteed if every container's CPU and memory limits are set and equal its requests, BestEffort if none
// asks for or limits any, else Burstable.
func qosClass(pod *corev1.Pod) corev1.PodQOSClass {
	asked, guaranteed := false, true
	check := func(resources *corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := resources.Requests[name], resources.Limits[name]
			asked = asked || request.Sign() > 0 || limit.Sign() > 0
			guaranteed = guaranteed && limit.Sign() > 0 && request.Cmp(limit) == 0
		}
	}
	if pod.Spec.Resources != nil && (len(pod.Spec.Resources.Requests) > 0 || len(pod.Spec.Resources.Limits) > 0) {
		check(pod.Spec.Resources)
	} else {
		for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range containers {
				check(&containers[i].Resources)
			}
		}
	}
	switch {
	case !asked:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
