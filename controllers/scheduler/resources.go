package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresources "k8s.io/component-helpers/resource"
)

// amounts are quantities of resources: CPU in thousandths of a core, all others in their own unit (bytes, pieces).
type amounts map[corev1.ResourceName]int64

// What a container that requests nothing counts for when nodes are compared, as in kube-scheduler.
var unstated = corev1.ResourceList{
	corev1.ResourceCPU:    *resource.NewMilliQuantity(100, resource.DecimalSI),
	corev1.ResourceMemory: *resource.NewQuantity(200<<20, resource.BinarySI),
}

// requestsOf are what a Pod needs at once: its containers together or its largest init container, and the overhead.
func requestsOf(pod *corev1.Pod) amounts {
	return toAmounts(podresources.PodRequests(pod, podresources.PodResourcesOptions{}))
}

func scoreRequestsOf(pod *corev1.Pod) amounts {
	return toAmounts(podresources.PodRequests(pod, podresources.PodResourcesOptions{NonMissingContainerRequests: unstated}))
}

func toAmounts(list corev1.ResourceList) amounts {
	result := make(amounts, len(list))
	for name, quantity := range list {
		if name == corev1.ResourceCPU {
			result[name] = quantity.MilliValue()
		} else {
			result[name] = quantity.Value()
		}
	}
	return result
}

func (a amounts) add(other amounts) {
	for name, amount := range other {
		a[name] += amount
	}
}

func (a amounts) subtract(other amounts) {
	for name, amount := range other {
		if a[name] -= amount; a[name] == 0 {
			delete(a, name)
		}
	}
}
