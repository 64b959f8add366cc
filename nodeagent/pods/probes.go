package pods

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/prober"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// probeState is what is known of a container beyond the runtime for as long as it runs.
type probeState struct {
	results probeResults
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the container has exited
}

// watchProbes starts the probes of containers that run and have none, and stops those of containers that do not run.
func (w *worker) watchProbes() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	running := map[string]bool{}
	for _, container := range w.containers {
		if container.State == runtime.Running {
			running[container.ID] = true
			if w.probeStates[container.ID] == nil {
				w.startProbes(container)
			}
		}
	}
	for id, state := range w.probeStates {
		if !running[id] {
			state.cancel()
			close(state.ended)
			delete(w.probeStates, id)
			delete(w.hooks, id)
		}
	}
}

// startProbes is called with the mutex held. The probes' goroutines end when the container does, or the worker.
func (w *worker) startProbes(container runtime.Container) {
	ctx, cancel := context.WithCancel(w.ctx)
	spec := findContainer(w.pod, container.Name)
	if spec == nil {
		spec = &v1.Container{Name: container.Name}
	}
	said := statusSaid(w.pod, container)
	state := &probeState{cancel: cancel, ended: make(chan struct{}), results: probeResults{
		started: spec.StartupProbe == nil || said.Started != nil && *said.Started,
		ready:   spec.ReadinessProbe == nil || said.Ready,
	}}
	w.probeStates[container.ID] = state
	if spec.StartupProbe == nil && spec.ReadinessProbe == nil && spec.LivenessProbe == nil {
		return
	}
	podIP, pod := w.podIP(), w.pod
	w.loop.Prober.Start(ctx, prober.Target{
		ContainerID: container.ID, PodIP: podIP, Container: spec, Started: container.Started, Ready: said.Ready,
		Unhealthy: func(message string) { w.event(pod, spec.Name, v1.EventTypeWarning, "Unhealthy", message) },
		Warning:   func(message string) { w.event(pod, spec.Name, v1.EventTypeWarning, "ProbeWarning", message) },
		Result: func(kind prober.Kind, success bool) {
			w.set(func() {
				switch {
				case kind == prober.Readiness:
					state.results.ready = success
				case success && kind == prober.Startup:
					state.results.started = true
				case !success:
					state.results.failed = string(kind)
				}
			})
		},
	})
}

// statusSaid is what the Pod's status says of this run of a container, which an agent wrote that ran before; zero if it says nothing. A
// container is not taken out of its Services because the agent was restarted.
func statusSaid(pod *v1.Pod, container runtime.Container) v1.ContainerStatus {
	for _, said := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if said.ContainerID == containerScheme+container.ID {
			return said
		}
	}
	return v1.ContainerStatus{}
}

func (w *worker) stopProbes() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for id, state := range w.probeStates {
		state.cancel()
		close(state.ended)
		delete(w.probeStates, id)
	}
}
