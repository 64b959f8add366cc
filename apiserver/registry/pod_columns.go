package registry

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podColumns() []metav1.TableColumnDefinition {
	status, spec := corev1.PodStatus{}.SwaggerDoc(), corev1.PodSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
		column("Status", "string", "The aggregate status of the containers in this pod."),
		column("Restarts", "string", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		ageColumn(),
		wideColumn("IP", "string", status["podIP"]),
		wideColumn("Node", "string", spec["nodeName"]),
		wideColumn("Nominated Node", "string", status["nominatedNodeName"]),
		wideColumn("Readiness Gates", "string", spec["readinessGates"]),
	}
}

func podCells(obj Object) []any {
	pod := obj.(*corev1.Pod)
	summary := summarizePod(pod)
	ip := pod.Status.PodIP
	if len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	return []any{
		pod.Name,
		fmt.Sprintf("%d/%d", summary.ready, summary.containers),
		summary.reason,
		summary.restartsText(),
		age(pod),
		orNone(ip),
		orNone(pod.Spec.NodeName),
		orNone(pod.Status.NominatedNodeName),
		readinessGates(pod),
	}
}

// podSummary is what `kubectl get pods` says of all containers of a Pod together.
type podSummary struct {
	ready, containers int
	reason            string
	restarts          int
	lastRestart       time.Time
}

func (s podSummary) restartsText() string {
	if s.restarts != 0 && !s.lastRestart.IsZero() {
		return fmt.Sprintf("%d (%s ago)", s.restarts, ageSince(s.lastRestart))
	}
	return strconv.Itoa(s.restarts)
}

// restartCount sums restarts; init and main containers are counted apart, since a Pod past its initialization shows
// only the latter (and its sidecars).
type restartCount struct {
	restarts int
	last     time.Time
}

func (c *restartCount) add(status corev1.ContainerStatus) {
	c.restarts += int(status.RestartCount)
	if ended := status.LastTerminationState.Terminated; ended != nil && c.last.Before(ended.FinishedAt.Time) {
		c.last = ended.FinishedAt.Time
	}
}

func summarizePod(pod *corev1.Pod) podSummary {
	summary := podSummary{containers: len(pod.Spec.Containers), reason: string(pod.Status.Phase)}
	if pod.Status.Reason != "" {
		summary.reason = pod.Status.Reason
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonSchedulingGated {
			summary.reason = corev1.PodReasonSchedulingGated
		}
	}

	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		if isSidecar(&pod.Spec.InitContainers[i]) {
			sidecars[pod.Spec.InitContainers[i].Name] = true
			summary.containers++
		}
	}

	initializing := summary.addInitContainers(pod, sidecars)
	if !initializing || conditionIs(pod, corev1.PodInitialized, corev1.ConditionTrue) {
		summary.addContainers(pod, sidecars)
	}

	if pod.DeletionTimestamp != nil {
		switch {
		case pod.Status.Reason == "NodeLost":
			summary.reason = "Unknown"
		case pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed:
			summary.reason = "Terminating"
		}
	}
	return summary
}

// addInitContainers sets the reason to "Init:…" and returns true while an init container is not done.
func (s *podSummary) addInitContainers(pod *corev1.Pod, sidecars map[string]bool) (initializing bool) {
	var count restartCount
	for i, status := range pod.Status.InitContainerStatuses {
		count.add(status)
		state := status.State
		if initializing {
			continue
		}
		switch {
		case state.Terminated != nil && state.Terminated.ExitCode == 0:
			continue
		case sidecars[status.Name] && status.Started != nil && *status.Started:
			if status.Ready {
				s.ready++
			}
			continue
		case state.Terminated != nil:
			s.reason = "Init:" + terminatedReason(state.Terminated)
		case state.Waiting != nil && state.Waiting.Reason != "" && state.Waiting.Reason != "PodInitializing":
			s.reason = "Init:" + state.Waiting.Reason
		default:
			s.reason = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		initializing = true
	}
	s.restarts, s.lastRestart = count.restarts, count.last
	return initializing
}

// addContainers sets the reason to that of the first container which has one, and counts ready containers and restarts.
func (s *podSummary) addContainers(pod *corev1.Pod, sidecars map[string]bool) {
	var count restartCount
	for _, status := range pod.Status.InitContainerStatuses {
		if sidecars[status.Name] {
			count.add(status)
		}
	}
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		status := pod.Status.ContainerStatuses[i]
		count.add(status)
		switch {
		case status.State.Waiting != nil && status.State.Waiting.Reason != "":
			s.reason = status.State.Waiting.Reason
		case status.State.Terminated != nil:
			s.reason = terminatedReason(status.State.Terminated)
		case status.Ready && status.State.Running != nil:
			running = true
			s.ready++
		}
	}
	s.restarts, s.lastRestart = count.restarts, count.last
	if s.reason == "Completed" && running {
		s.reason = "NotReady"
		if conditionIs(pod, corev1.PodReady, corev1.ConditionTrue) {
			s.reason = "Running"
		}
	}
}

func terminatedReason(ended *corev1.ContainerStateTerminated) string {
	switch {
	case ended.Reason != "":
		return ended.Reason
	case ended.Signal != 0:
		return fmt.Sprintf("Signal:%d", ended.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", ended.ExitCode)
}

func readinessGates(pod *corev1.Pod) string {
	if len(pod.Spec.ReadinessGates) == 0 {
		return "<none>"
	}
	met := 0
	for _, gate := range pod.Spec.ReadinessGates {
		if conditionIs(pod, gate.ConditionType, corev1.ConditionTrue) {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(pod.Spec.ReadinessGates))
}

func conditionIs(pod *corev1.Pod, kind corev1.PodConditionType, status corev1.ConditionStatus) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == kind {
			return condition.Status == status
		}
	}
	return false
}

func isSidecar(container *corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
