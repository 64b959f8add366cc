package pods

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// containerScheme stands before container IDs in a Pod's status.
const containerScheme = "kubelite://"

// computeStatus is the status the Pod should have, from what is seen; pure. Conditions of others (PodScheduled, readiness gates) are
// kept. end is computeOutcome's.
func computeStatus(pod *v1.Pod, o *observed, hostIPs []string, end *outcome) v1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.HostIP, status.HostIPs = hostIPs[0], nil
	for _, address := range hostIPs {
		status.HostIPs = append(status.HostIPs, v1.HostIP{IP: address})
	}
	if status.StartTime == nil {
		now := metav1.NewTime(o.now).Rfc3339Copy()
		status.StartTime = &now
	}
	if status.QOSClass == "" {
		status.QOSClass = qos.ComputePodQOS(pod)
	}
	if o.sandbox != nil {
		if addresses := sandboxIPs(o.sandbox, hostIPs); len(addresses) > 0 {
			status.PodIP, status.PodIPs = addresses[0], nil
			for _, address := range addresses {
				status.PodIPs = append(status.PodIPs, v1.PodIP{IP: address})
			}
		}
	}
	initialized := initContainersDone(pod, o)
	status.InitContainerStatuses = containerStatuses(pod, pod.Spec.InitContainers, pod.Status.InitContainerStatuses, o, "PodInitializing", true)
	reason := "ContainerCreating"
	if !initialized && len(pod.Spec.InitContainers) > 0 {
		reason = "PodInitializing"
	}
	status.ContainerStatuses = containerStatuses(pod, pod.Spec.Containers, pod.Status.ContainerStatuses, o, reason, false)
	status.Phase = phase(pod, o, initialized)
	if end != nil {
		status.Reason, status.Message = end.reason, end.message
		if len(o.running()) == 0 || end.reason != "" {
			status.Phase = end.phase
		}
	}
	status.ObservedGeneration = pod.Generation
	setConditions(pod, &status, o)
	return status
}

func initContainersDone(pod *v1.Pod, o *observed) bool {
	for i := range pod.Spec.Containers {
		if run := o.latest(pod.Spec.Containers[i].Name); run != nil && (o.sandbox == nil || o.inSandbox(run)) {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		run := o.latest(container.Name)
		switch {
		case run == nil, isSidecar(container) && !o.started(run):
			return false
		case !isSidecar(container) && (run.State == runtime.Running || run.ExitCode != 0):
			return false
		case o.sandbox != nil && !o.inSandbox(run):
			return false
		}
	}
	return true
}

func phase(pod *v1.Pod, o *observed, initialized bool) v1.PodPhase {
	if !initialized {
		return v1.PodPending
	}
	for i := range pod.Spec.Containers {
		if o.latest(pod.Spec.Containers[i].Name) == nil {
			return v1.PodPending
		}
	}
	return v1.PodRunning
}

func containerStatuses(pod *v1.Pod, containers []v1.Container, before []v1.ContainerStatus, o *observed, waiting string, init bool) []v1.ContainerStatus {
	if len(containers) == 0 {
		return nil
	}
	statuses := make([]v1.ContainerStatus, 0, len(containers))
	for i := range containers {
		container := &containers[i]
		status := containerStatus(pod, container, o, waiting)
		if init && !isSidecar(container) {
			run := o.latest(container.Name)
			status.Ready = run != nil && run.State == runtime.Exited && run.ExitCode == 0
		}
		if status.ContainerID == "" { // what was seen of it is gone with the Pod's remains; what was said of it stays
			for _, old := range before {
				if old.Name == container.Name && old.ContainerID != "" && (isTerminal(pod.Status.Phase) || pod.DeletionTimestamp != nil) {
					status = *old.DeepCopy()
				}
			}
		}
		statuses = append(statuses, status)
	}
	return statuses
}

func containerStatus(pod *v1.Pod, container *v1.Container, o *observed, waiting string) v1.ContainerStatus {
	status := v1.ContainerStatus{Name: container.Name, Image: container.Image}
	started := false
	status.Started = &started
	run := o.latest(container.Name)
	wait, waits := o.waiting[container.Name]
	if run == nil {
		if !waits {
			wait = waitReason{reason: waiting}
		}
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: wait.reason, Message: wait.message}
		return status
	}
	status.RestartCount = int32(run.Attempt)
	status.ContainerID = containerScheme + run.ID
	status.Image = run.Image
	status.ImageID = run.Labels[labelImageRef]
	if status.ImageID == "" {
		status.ImageID = run.ImageID
	}
	if previous := o.previous(container.Name); previous != nil {
		status.LastTerminationState.Terminated = terminated(previous, o)
	}
	switch {
	case run.State == runtime.Running:
		started = o.started(run)
		status.Ready = started && o.probes[run.ID].ready
		status.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(run.Started).Rfc3339Copy()}
	case waits && wait.reason != "":
		status.LastTerminationState.Terminated = terminated(run, o)
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: wait.reason, Message: wait.message}
	default:
		status.State.Terminated = terminated(run, o)
	}
	status.Resources = container.Resources.DeepCopy()
	return status
}

func terminated(run *runtime.Container, o *observed) *v1.ContainerStateTerminated {
	state := &v1.ContainerStateTerminated{
		ExitCode: int32(run.ExitCode), Reason: "Completed", Message: o.messages[run.ID],
		StartedAt: metav1.NewTime(run.Started).Rfc3339Copy(), FinishedAt: metav1.NewTime(run.Finished).Rfc3339Copy(),
		ContainerID: containerScheme + run.ID,
	}
	switch {
	case run.Labels[labelReason] != "":
		state.Reason = run.Labels[labelReason]
	case run.OOMKilled:
		state.Reason = "OOMKilled"
	case run.ExitCode != 0:
		state.Reason = "Error"
	}
	if run.Started.IsZero() {
		state.StartedAt = metav1.Time{}
	}
	if run.Finished.IsZero() {
		state.FinishedAt = metav1.Time{}
	}
	return state
}

func setConditions(pod *v1.Pod, status *v1.PodStatus, o *observed) {
	sandbox := v1.ConditionFalse
	if o.sandbox != nil {
		sandbox = v1.ConditionTrue
	}
	setCondition(pod, status, o.now, v1.PodReadyToStartContainers, sandbox, "", "")

	var incomplete []string
	for i := range pod.Spec.InitContainers {
		container, init := &pod.Spec.InitContainers[i], &status.InitContainerStatuses[i]
		if isSidecar(container) && (init.Started == nil || !*init.Started) || !isSidecar(container) && !init.Ready {
			incomplete = append(incomplete, container.Name)
		}
	}
	switch {
	case status.Phase == v1.PodSucceeded:
		setCondition(pod, status, o.now, v1.PodInitialized, v1.ConditionTrue, "PodCompleted", "")
	case len(incomplete) > 0 && !initContainersDone(pod, o):
		setCondition(pod, status, o.now, v1.PodInitialized, v1.ConditionFalse, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: %s", incomplete))
	default:
		setCondition(pod, status, o.now, v1.PodInitialized, v1.ConditionTrue, "", "")
	}

	value, reason, message := containersReady(pod, status)
	setCondition(pod, status, o.now, v1.ContainersReady, value, reason, message)
	if value == v1.ConditionTrue {
		if message = closedGates(pod, status); message != "" {
			value, reason = v1.ConditionFalse, "ReadinessGatesNotReady"
		}
	}
	setCondition(pod, status, o.now, v1.PodReady, value, reason, message)
}

func containersReady(pod *v1.Pod, status *v1.PodStatus) (value v1.ConditionStatus, reason, message string) {
	switch status.Phase {
	case v1.PodSucceeded:
		return v1.ConditionFalse, "PodCompleted", ""
	case v1.PodFailed:
		return v1.ConditionFalse, "PodFailed", ""
	}
	var unready []string
	for i := range pod.Spec.InitContainers {
		if isSidecar(&pod.Spec.InitContainers[i]) && !status.InitContainerStatuses[i].Ready {
			unready = append(unready, pod.Spec.InitContainers[i].Name)
		}
	}
	for i := range status.ContainerStatuses {
		if !status.ContainerStatuses[i].Ready {
			unready = append(unready, status.ContainerStatuses[i].Name)
		}
	}
	if len(unready) > 0 {
		return v1.ConditionFalse, "ContainersNotReady", fmt.Sprintf("containers with unready status: %s", unready)
	}
	return v1.ConditionTrue, "", ""
}

// closedGates tells which of the Pod's readiness gates keep it from being ready.
func closedGates(pod *v1.Pod, status *v1.PodStatus) string {
	var messages []string
	for _, gate := range pod.Spec.ReadinessGates {
		condition := findCondition(status, gate.ConditionType)
		if condition == nil {
			messages = append(messages, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		} else if condition.Status != v1.ConditionTrue {
			messages = append(messages, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, condition.Status))
		}
	}
	return strings.Join(messages, ", ")
}

func findCondition(status *v1.PodStatus, kind v1.PodConditionType) *v1.PodCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return &status.Conditions[i]
		}
	}
	return nil
}

// setCondition changes the transition time only when the condition's status changes.
func setCondition(pod *v1.Pod, status *v1.PodStatus, now time.Time, kind v1.PodConditionType, value v1.ConditionStatus, reason, message string) {
	condition := findCondition(status, kind)
	if condition == nil {
		status.Conditions = append(status.Conditions, v1.PodCondition{Type: kind})
		condition = &status.Conditions[len(status.Conditions)-1]
	}
	if condition.Status != value {
		condition.Status, condition.LastTransitionTime = value, metav1.NewTime(now).Rfc3339Copy()
	}
	condition.Reason, condition.Message, condition.ObservedGeneration = reason, message, pod.Generation
}
