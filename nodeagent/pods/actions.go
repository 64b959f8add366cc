package pods

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// actions is what brings a Pod one step nearer to what it should be. The worker carries them out, observes again and asks again.
type actions struct {
	startSandbox bool
	stopSandbox  bool // all containers have stopped; the Pod ends
	start        []string
	kill         []kill
	remove       []string  // exited containers that nobody asks for any more
	finished     bool      // nothing is left: an API object that is being deleted can go
	deadline     time.Time // of activeDeadlineSeconds; zero: none
}

// kill stops one container.
type kill struct {
	id, name string
	event    string        // the Killing event's message
	grace    time.Duration // until SIGKILL
}

// computeActions is the heart of the agent, and pure. ended is true when the Pod is over for a reason of its own (deadline, terminal
// phase), which the caller has found out by computeOutcome.
func computeActions(pod *v1.Pod, o *observed, ended bool) actions {
	result := actions{remove: superfluous(pod, o)}
	if deadline := pod.Spec.ActiveDeadlineSeconds; deadline != nil && pod.Status.StartTime != nil {
		result.deadline = pod.Status.StartTime.Add(time.Duration(*deadline) * time.Second)
	}
	if ended || o.gone || pod.DeletionTimestamp != nil {
		return endPod(pod, o, result)
	}
	if o.sandbox == nil {
		for _, container := range o.running() { // their namespaces are gone: they cannot be reached any more
			result.addKill(o, container, "Pod sandbox changed, it will be killed and re-created.", gracePeriod(pod, nil))
		}
		result.startSandbox = len(o.running()) == 0
		return result
	}
	if !initialize(pod, o, &result) {
		return result
	}
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		run := o.latest(container.Name)
		if keepRunning(pod, container, run, o, &result); run != nil && o.hooks[run.ID] {
			break // the ones after it start when its postStart hook is over, as in the kubelet
		}
	}
	return result
}

// initialize takes care of the init containers and says whether the regular ones may run.
func initialize(pod *v1.Pod, o *observed, result *actions) bool {
	initialized := false
	for i := range pod.Spec.Containers {
		initialized = initialized || o.inSandbox(o.latest(pod.Spec.Containers[i].Name))
	}
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		run := o.latest(container.Name)
		if isSidecar(container) {
			keepRunning(pod, container, run, o, result)
			if !initialized && (!o.inSandbox(run) || !o.started(run)) {
				return false
			}
			continue
		}
		if initialized {
			continue
		}
		if !o.inSandbox(run) {
			result.addStart(o, container.Name)
			return false
		}
		if run.State == runtime.Running || run.ExitCode != 0 {
			if run.State == runtime.Exited { // a failure for good ends the Pod in computeOutcome
				result.addStart(o, container.Name)
			}
			return false
		}
	}
	return true
}

// keepRunning starts a container that should run, and stops one whose probe has failed so that it starts again.
func keepRunning(pod *v1.Pod, container *v1.Container, run *runtime.Container, o *observed, result *actions) {
	switch {
	case run == nil:
		result.addStart(o, container.Name)
	case run.State == runtime.Exited:
		if restarts(pod, container, run.ExitCode) {
			result.addStart(o, container.Name)
		}
	case o.probes[run.ID].failed != "":
		probe, kind := container.LivenessProbe, o.probes[run.ID].failed
		if kind == "startup" {
			probe = container.StartupProbe
		}
		message := fmt.Sprintf("Container %s failed %s probe", container.Name, kind)
		if restarts(pod, container, 137) {
			message += ", will be restarted"
		}
		if kind == failedPostStart {
			message = "FailedPostStartHook"
		}
		result.addKill(o, *run, message, gracePeriod(pod, probe))
	}
}

// endPod stops the regular containers, then the sidecars one after the other, last first, then the sandbox.
func endPod(pod *v1.Pod, o *observed, result actions) actions {
	running := o.running()
	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		if isSidecar(&pod.Spec.InitContainers[i]) {
			sidecars[pod.Spec.InitContainers[i].Name] = true
		}
	}
	regular := 0
	for _, container := range running {
		if !sidecars[container.Name] {
			regular++
			result.addKill(o, container, "Stopping container "+container.Name, gracePeriod(pod, nil))
		}
	}
	if regular == 0 {
		for i := len(pod.Spec.InitContainers) - 1; i >= 0; i-- {
			if run := o.latest(pod.Spec.InitContainers[i].Name); run != nil && run.State == runtime.Running {
				result.addKill(o, *run, "Stopping container "+run.Name, gracePeriod(pod, nil))
				break
			}
		}
	}
	result.stopSandbox = len(running) == 0 && o.sandbox != nil
	result.finished = len(running) == 0 && o.sandbox == nil
	if o.gone && len(running) == 0 {
		result.remove = nil
		for _, container := range o.containers {
			if !o.lost[container.ID] {
				result.remove = append(result.remove, container.ID)
			}
		}
	}
	return result
}

// addStart starts a container unless its back-off tells to wait.
func (a *actions) addStart(o *observed, name string) {
	if until := o.waiting[name].until; until.After(o.now) {
		return
	}
	a.start = append(a.start, name)
}

func (a *actions) addKill(o *observed, container runtime.Container, event string, grace time.Duration) {
	if !o.stopping[container.ID] {
		a.kill = append(a.kill, kill{id: container.ID, name: container.Name, event: event, grace: grace})
	}
}

// superfluous are the exited runs of a container before its last two: the last is in its status as the state, the one before as the
// last state.
func superfluous(pod *v1.Pod, o *observed) []string {
	var remove []string
	kept := map[string]int{}
	for i := len(o.containers) - 1; i >= 0; i-- {
		container := &o.containers[i]
		kept[container.Name]++
		if container.State == runtime.Exited && !o.lost[container.ID] && (kept[container.Name] > 2 || findContainer(pod, container.Name) == nil) {
			remove = append(remove, container.ID)
		}
	}
	return remove
}

// gracePeriod is how long a container may take to stop: a probe's own, what the deletion says, or the Pod's.
func gracePeriod(pod *v1.Pod, probe *v1.Probe) time.Duration {
	seconds := int64(30)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.DeletionGracePeriodSeconds != nil {
		seconds = *pod.DeletionGracePeriodSeconds
	} else if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		seconds = *probe.TerminationGracePeriodSeconds
	}
	return time.Duration(max(seconds, 1)) * time.Second
}

// outcome is why a Pod is over.
type outcome struct {
	phase           v1.PodPhase
	reason, message string
}

// computeOutcome says how the Pod has ended, or nil if it goes on: its phase is terminal already, its deadline has passed, an
// init container has failed for good, or all its containers have exited and none runs again.
func computeOutcome(pod *v1.Pod, o *observed) *outcome {
	if isTerminal(pod.Status.Phase) {
		return &outcome{phase: pod.Status.Phase, reason: pod.Status.Reason, message: pod.Status.Message}
	}
	if limit := pod.Spec.ActiveDeadlineSeconds; limit != nil && pod.Status.StartTime != nil &&
		!o.now.Before(pod.Status.StartTime.Add(time.Duration(*limit)*time.Second)) {
		return &outcome{phase: v1.PodFailed, reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline"}
	}
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		run := o.latest(container.Name)
		if !isSidecar(container) && run != nil && run.State == runtime.Exited && run.ExitCode != 0 && !restarts(pod, container, run.ExitCode) {
			return &outcome{phase: v1.PodFailed}
		}
	}
	failed := false
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		run := o.latest(container.Name)
		if run == nil || run.State == runtime.Running || restarts(pod, container, run.ExitCode) && pod.DeletionTimestamp == nil {
			return nil
		}
		failed = failed || run.ExitCode != 0
	}
	if failed {
		return &outcome{phase: v1.PodFailed}
	}
	return &outcome{phase: v1.PodSucceeded}
}
