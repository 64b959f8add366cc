package pods

import (
	"fmt"

	"github.com/kubelite/kubelite/nodeagent/runtime"
	v1 "k8s.io/api/core/v1"
)

// NotFoundError says, in the kubelet's words, that there is no such Pod or container here. Other errors of this file are bad requests.
type NotFoundError struct{ message string }

func (e *NotFoundError) Error() string { return e.message }

// Log is where a container's log is.
type Log struct {
	Path  string
	Ended <-chan struct{} // closed when the container has exited
}

// ContainerLog finds the log of a container's current, or else of its previous run.
func (l *Loop) ContainerLog(namespace, pod, container string, previous bool) (Log, error) {
	w, spec, err := l.findContainer(namespace, pod, container)
	if err != nil {
		return Log{}, err
	}
	seen := w.view()
	run := seen.latest(spec.Name)
	wait := seen.waiting[spec.Name]
	if previous {
		// While a container waits to be restarted its last run is its previous one.
		if run == nil || run.State == runtime.Running || wait.reason == "" {
			run = seen.previous(spec.Name)
		}
		if run == nil {
			return Log{}, fmt.Errorf("previous terminated container %q in pod %q not found", spec.Name, pod)
		}
		return Log{Path: run.LogPath, Ended: closed}, nil
	}
	if run == nil {
		reason := wait.reason
		if wait.message != "" && (reason == "ErrImagePull" || reason == "ImagePullBackOff") {
			return Log{}, fmt.Errorf("container %q in pod %q is waiting to start: trying and failing to pull image", spec.Name, pod)
		}
		if reason == "" {
			reason = "ContainerCreating"
			if len(w.currentPod().Spec.InitContainers) > 0 {
				reason = "PodInitializing"
			}
		}
		return Log{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", spec.Name, pod, reason)
	}
	return Log{Path: run.LogPath, Ended: w.endOf(run)}, nil
}

// Process is a running container, for exec and attach.
type Process struct {
	ID         string
	TTY, Stdin bool
}

// RunningContainer finds a container that runs.
func (l *Loop) RunningContainer(namespace, pod, container string) (Process, error) {
	w, spec, err := l.findContainer(namespace, pod, container)
	if err != nil {
		return Process{}, err
	}
	run := w.view().latest(spec.Name)
	if run == nil || run.State != runtime.Running {
		return Process{}, &NotFoundError{fmt.Sprintf("container not found (%q)", container)}
	}
	return Process{ID: run.ID, TTY: spec.TTY, Stdin: spec.Stdin}, nil
}

// PodNetNS is the path of a running Pod's network namespace; empty if the Pod uses the node's.
func (l *Loop) PodNetNS(namespace, pod string) (string, error) {
	w := l.byName(namespace, pod)
	if w == nil {
		return "", &NotFoundError{fmt.Sprintf("pod %q does not exist", pod)}
	}
	sandbox := w.view().sandbox
	if sandbox == nil {
		return "", fmt.Errorf("pod %s/%s is not running", namespace, pod)
	}
	if sandbox.HostNetwork {
		return "", nil
	}
	return sandbox.NetNS, nil
}

func (l *Loop) findContainer(namespace, pod, container string) (*worker, *v1.Container, error) {
	w := l.byName(namespace, pod)
	if w == nil {
		return nil, nil, &NotFoundError{fmt.Sprintf("pod %q does not exist", pod)}
	}
	spec := findContainer(w.currentPod(), container)
	if spec == nil {
		return nil, nil, &NotFoundError{fmt.Sprintf("container %q not found in pod %q", container, pod)}
	}
	return w, spec, nil
}

// byName finds the worker of a Pod. Of two (the old one of the name is still being stopped) it is the one that is not gone.
func (l *Loop) byName(namespace, name string) *worker {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, w := range l.workers {
		if w.namespace == namespace && w.name == name && !w.isGoneNow() {
			return w
		}
	}
	return nil
}

func (w *worker) currentPod() *v1.Pod {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.pod
}

// view is what the worker knew when it last looked.
func (w *worker) view() *observed {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.seen == nil {
		return &observed{}
	}
	return w.seen
}

// closed is the end of whatever has ended.
var closed = func() <-chan struct{} {
	channel := make(chan struct{})
	close(channel)
	return channel
}()

// endOf returns a channel that is closed when the container exits.
func (w *worker) endOf(run *runtime.Container) <-chan struct{} {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if state := w.probeStates[run.ID]; run.State == runtime.Running && state != nil {
		return state.ended
	}
	return closed
}
