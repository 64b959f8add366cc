package pods

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/logs"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// Labels that the agent keeps with a container.
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
	labelImageRef      = "kubelite.dev/image-reference"
	labelStopSignal    = "kubelite.dev/stop-signal"
	labelReason        = "kubelite.dev/reason" // of a container that was lost: why it is taken as exited
)

const lostMessage = "The container could not be located when the pod was terminated"

// restoreFromStatus makes known the containers of which the API status tells. Those that list then finds on the machine replace them; the
// others were lost (a reboot) or have been removed, and count as exited.
func (w *worker) restoreFromStatus() {
	now, told := w.loop.Now(), w.currentPod().Status
	for _, status := range slices.Concat(told.InitContainerStatuses, told.ContainerStatuses) {
		for _, state := range []v1.ContainerState{status.LastTerminationState, status.State} {
			run := runtime.Container{
				PodUID: string(w.uid), Name: status.Name, Image: status.Image, ImageID: status.ImageID, State: runtime.Exited, Finished: now,
				Attempt: int(status.RestartCount), Labels: map[string]string{labelImageRef: status.ImageID},
			}
			message := ""
			switch {
			case state.Terminated != nil && state.Terminated.ContainerID != "":
				run.ID = strings.TrimPrefix(state.Terminated.ContainerID, containerScheme)
				run.ExitCode, run.Started, run.Finished = int(state.Terminated.ExitCode), state.Terminated.StartedAt.Time, state.Terminated.FinishedAt.Time
				run.Labels[labelReason], message = state.Terminated.Reason, state.Terminated.Message
				if state.Terminated.ContainerID != status.ContainerID {
					run.Attempt--
				}
			case state.Running != nil && status.ContainerID != "":
				run.ID = strings.TrimPrefix(status.ContainerID, containerScheme)
				run.ExitCode, run.Started = 137, state.Running.StartedAt.Time
				run.Labels[labelReason], message = "ContainerStatusUnknown", lostMessage
			default:
				continue
			}
			run.LogPath = w.logPath(run.Name, run.Attempt)
			if w.find(run.ID) == nil {
				w.containers = append(w.containers, run)
				w.lost[run.ID] = true
				if message != "" {
					w.messages[run.ID] = message
				}
			}
		}
	}
}

// list brings what is known of the Pod's sandbox and containers up to date with the machine.
func (w *worker) list(ctx context.Context) error {
	all, err := w.loop.Runtime.Containers(ctx)
	if err != nil {
		return err
	}
	sandboxes, err := w.loop.Runtime.Sandboxes(ctx)
	if err != nil {
		return err
	}
	w.sandbox = nil
	for i := range sandboxes {
		if sandboxes[i].PodUID == string(w.uid) {
			w.sandbox = &sandboxes[i]
		}
	}
	var found []runtime.Container
	seen := map[string]bool{}
	for _, container := range all {
		if container.PodUID == string(w.uid) {
			found = append(found, container)
			seen[container.ID] = true
			if w.lost[container.ID] {
				delete(w.lost, container.ID)
				delete(w.messages, container.ID)
			}
		}
	}
	var remembered []runtime.Container
	for _, container := range w.containers {
		if seen[container.ID] {
			continue
		}
		if container.State == runtime.Running {
			container.State, container.ExitCode, container.Finished = runtime.Exited, 137, w.loop.Now()
			container.Labels = map[string]string{labelReason: "ContainerStatusUnknown", labelImageRef: container.Labels[labelImageRef]}
			w.messages[container.ID] = lostMessage
		}
		w.lost[container.ID] = true
		remembered = append(remembered, container)
	}
	w.containers = append(remembered, found...)
	slices.SortStableFunc(w.containers, func(a, b runtime.Container) int {
		if a.Name == b.Name {
			return a.Attempt - b.Attempt
		}
		return a.Created.Compare(b.Created)
	})
	w.dropOldLost()
	for i := range w.containers {
		w.noticeExit(&w.containers[i])
	}
	w.watchProbes()
	return nil
}

// dropOldLost forgets lost runs that are neither the last nor the one before.
func (w *worker) dropOldLost() {
	kept := map[string]int{}
	for i := len(w.containers) - 1; i >= 0; i-- {
		container := w.containers[i]
		kept[container.Name]++
		if w.lost[container.ID] && kept[container.Name] > 2 {
			w.containers = slices.Delete(w.containers, i, i+1)
			delete(w.lost, container.ID)
			delete(w.messages, container.ID)
		}
	}
}

// noticeExit reads the termination message of a container that has exited, once.
func (w *worker) noticeExit(container *runtime.Container) {
	if container.State != runtime.Exited {
		return
	}
	delete(w.stops, container.ID)
	if _, known := w.messages[container.ID]; known || w.lost[container.ID] {
		return
	}
	spec := findContainer(w.currentPod(), container.Name)
	w.messages[container.ID] = w.terminationMessage(spec, container)
}

const (
	longestMessage   = 4096 // bytes of a termination message
	longestFromLog   = 2048
	mostLinesFromLog = 80
)

func (w *worker) terminationMessage(spec *v1.Container, container *runtime.Container) string {
	file, err := os.Open(w.terminationLog(container.Name, container.Attempt))
	if err == nil {
		defer file.Close()
		message, err := io.ReadAll(io.LimitReader(file, longestMessage))
		if err == nil && len(message) > 0 {
			return string(message)
		}
	}
	if spec == nil || spec.TerminationMessagePolicy != v1.TerminationMessageFallbackToLogsOnError || container.ExitCode == 0 {
		return ""
	}
	var text bytes.Buffer
	err = logs.Copy(w.ctx, &text, &text, container.LogPath, logs.Options{Tail: mostLinesFromLog})
	if err != nil {
		w.log.Error("read log for termination message", "container", container.Name, "error", err)
	}
	message := text.Bytes()
	return string(message[max(0, len(message)-longestFromLog):])
}

func (w *worker) terminationLog(container string, attempt int) string {
	return filepath.Join(w.loop.PodDir, string(w.uid), "containers", container, strconv.Itoa(attempt)+".termination")
}

func (w *worker) logPath(container string, attempt int) string {
	return filepath.Join(w.loop.LogDir, logFolder(w.namespace, w.name, w.uid), container, strconv.Itoa(attempt)+".log")
}

func (w *worker) find(id string) *runtime.Container {
	for i := range w.containers {
		if w.containers[i].ID == id {
			return &w.containers[i]
		}
	}
	return nil
}

func (w *worker) forget(id string) {
	if container := w.find(id); container != nil && !w.isGoneNow() {
		for _, path := range []string{container.LogPath, w.terminationLog(container.Name, container.Attempt)} {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				w.log.Error("remove file of an old container", "error", err)
			}
		}
	}
	w.containers = slices.DeleteFunc(w.containers, func(container runtime.Container) bool { return container.ID == id })
	delete(w.messages, id)
	delete(w.lost, id)
}

func (w *worker) isGoneNow() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.isGone
}
