package selection

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Selects says whether a Service of the Pod's namespace selects it. No selector selects nothing, an empty one all.
func Selects(service *corev1.Service, pod *corev1.Pod) bool {
	if service.Spec.Selector == nil {
		return false
	}
	for key, value := range service.Spec.Selector {
		if actual, labelled := pod.Labels[key]; !labelled || actual != value {
			return false
		}
	}
	return true
}

// Changed says whether a Pod changed in what its endpoints or its Services depend on.
func Changed(old, pod *corev1.Pod) bool {
	return old.UID != pod.UID || !maps.Equal(old.Labels, pod.Labels) ||
		old.Spec.Hostname != pod.Spec.Hostname || old.Spec.Subdomain != pod.Spec.Subdomain ||
		old.Spec.NodeName != pod.Spec.NodeName ||
		(old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) ||
		Finished(old) != Finished(pod) || Ready(old) != Ready(pod) ||
		old.Status.PodIP != pod.Status.PodIP || !slices.Equal(old.Status.PodIPs, pod.Status.PodIPs)
}

// Ready says whether the Pod's condition Ready is True.
func Ready(pod *corev1.Pod) bool {
	condition := readyCondition(pod)
	return condition != nil && condition.Status == corev1.ConditionTrue
}

func readyCondition(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodReady {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// Finished says whether all containers have stopped for good.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// HasEndpoint says whether the Pod has an address that may serve: it has one, and has not finished.
func HasEndpoint(pod *corev1.Pod) bool {
	return !Finished(pod) && (pod.Status.PodIP != "" || len(pod.Status.PodIPs) > 0)
}

// HasHostname says whether the Pod's own name is to be resolved below the Service's name.
func HasHostname(pod *corev1.Pod, service *corev1.Service) bool {
	return pod.Spec.Hostname != "" && pod.Spec.Subdomain == service.Name && pod.Namespace == service.Namespace
}

// Port returns the number of the Pod's port that the Service port targets; ok is false if the Pod has no port of
// that name and protocol.
func Port(pod *corev1.Pod, port *corev1.ServicePort) (number int32, ok bool) {
	if port.TargetPort.Type == intstr.Int {
		return port.TargetPort.IntVal, true
	}
	for i := range pod.Spec.Containers {
		if number, ok := namedPort(&pod.Spec.Containers[i], port); ok {
			return number, true
		}
	}
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		sidecar := container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
		if number, ok := namedPort(container, port); ok && sidecar {
			return number, true
		}
	}
	return 0, false
}

func namedPort(container *corev1.Container, port *corev1.ServicePort) (number int32, ok bool) {
	for _, candidate := range container.Ports {
		if candidate.Name == port.TargetPort.StrVal && candidate.Protocol == port.Protocol {
			return candidate.ContainerPort, true
		}
	}
	return 0, false
}

// Headless says whether the Service has no cluster IP.
func Headless(service *corev1.Service) bool {
	return service.Spec.ClusterIP == corev1.ClusterIPNone || service.Spec.ClusterIP == ""
}

// Families returns the IP families of a Service, IPv4 if it does not say.
func Families(service *corev1.Service) []corev1.IPFamily {
	if len(service.Spec.IPFamilies) > 0 {
		return service.Spec.IPFamilies
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}
