package pods

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// observed is what a worker has seen of its Pod: the input, beside the Pod itself, of the pure functions computeActions and
// computeStatus. Maps are keyed by container ID unless they say otherwise.
type observed struct {
	now        time.Time
	gone       bool // the API object is no longer there
	sandbox    *runtime.Sandbox
	containers []runtime.Container // oldest first; a container that was lost is here as exited
	lost       map[string]bool     // of containers: known from the API status only
	stopping   map[string]bool     // told to stop
	hooks      map[string]bool     // the postStart hook still runs
	probes     map[string]probeResults
	messages   map[string]string     // termination messages of exited containers
	waiting    map[string]waitReason // by container name: why it does not start
}

// probeResults are what the probes of one running container say.
type probeResults struct {
	started bool // the startup probe has succeeded, or there is none
	ready   bool // the readiness probe says so, or there is none
	failed  string
}

// waitReason tells why a container does not run yet.
type waitReason struct {
	reason, message string
	until           time.Time // not tried again before; zero: when something changes
}

// latest is the newest run of the container of this name, nil if it never ran.
func (o *observed) latest(name string) *runtime.Container {
	for i := len(o.containers) - 1; i >= 0; i-- {
		if o.containers[i].Name == name {
			return &o.containers[i]
		}
	}
	return nil
}

// previous is the run before the newest one, nil if there is none.
func (o *observed) previous(name string) *runtime.Container {
	found := false
	for i := len(o.containers) - 1; i >= 0; i-- {
		if o.containers[i].Name == name {
			if found {
				return &o.containers[i]
			}
			found = true
		}
	}
	return nil
}

// inSandbox says whether the container ran in the sandbox that is there now, and not in one before it.
func (o *observed) inSandbox(container *runtime.Container) bool {
	return container != nil && o.sandbox != nil && !o.lost[container.ID] && !container.Created.Before(o.sandbox.Started)
}

func (o *observed) running() []runtime.Container {
	var running []runtime.Container
	for _, container := range o.containers {
		if container.State == runtime.Running {
			running = append(running, container)
		}
	}
	return running
}

// started says whether a running container counts as started: its postStart hook is over and its startup probe has succeeded.
func (o *observed) started(container *runtime.Container) bool {
	return container != nil && container.State == runtime.Running && !o.hooks[container.ID] && o.probes[container.ID].started
}

func isSidecar(container *v1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == v1.ContainerRestartPolicyAlways
}

func isTerminal(phase v1.PodPhase) bool { return phase == v1.PodSucceeded || phase == v1.PodFailed }

// restarts says whether an exited container is to run again by its own or its Pod's restart policy.
func restarts(pod *v1.Pod, container *v1.Container, exitCode int) bool {
	policy := pod.Spec.RestartPolicy
	if container.RestartPolicy != nil {
		policy = v1.RestartPolicy(*container.RestartPolicy)
	}
	switch policy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return exitCode != 0
	}
	return true
}

// findContainer is the Pod's container or init container of this name, nil if there is none.
func findContainer(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}
