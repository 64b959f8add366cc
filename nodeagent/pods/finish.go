package pods

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
)

// finish is called when nothing of the Pod runs any more. over ends the worker; waiting means that there is nothing to do now.
func (w *worker) finish(ctx context.Context, pod *v1.Pod, end *outcome) (over, waiting bool) {
	if w.retries.waits(w.loop.Now()) {
		return false, true
	}
	if !w.ended {
		w.stopProbes()
		if err := w.loop.Volumes.TearDown(string(w.uid)); err != nil {
			w.retryLater("tear down volumes", err)
			return false, true
		}
		w.loop.Objects.Unregister(w.uid)
		w.ended, w.volumesReady, w.refresh = true, false, time.Time{}
		w.retries.reset()
	}
	w.mutex.Lock()
	gone := w.isGone
	w.mutex.Unlock()
	if gone {
		return w.removeRemains(ctx)
	}
	if pod.DeletionTimestamp == nil || w.deleted {
		return false, true
	}
	if err := w.deleteObject(ctx, pod); err != nil {
		w.retryLater("delete pod object", err)
		return false, true
	}
	w.deleted = true
	return false, true
}

// removeRemains removes exited containers, logs and files of a Pod that is gone.
func (w *worker) removeRemains(ctx context.Context) (over, waiting bool) {
	var failures []error
	for _, container := range w.containers {
		if err := w.loop.Runtime.RemoveContainer(ctx, container.ID); err != nil && !w.lost[container.ID] {
			failures = append(failures, err)
		}
	}
	// Also where no sandbox was seen: a crash may have left half of one behind.
	failures = append(failures, w.loop.Runtime.StopSandbox(ctx, string(w.uid)), os.RemoveAll(filepath.Join(w.loop.PodDir, string(w.uid))))
	if w.name != "" {
		failures = append(failures, os.RemoveAll(filepath.Join(w.loop.LogDir, logFolder(w.namespace, w.name, w.uid))))
	}
	if err := errors.Join(failures...); err != nil {
		w.retryLater("remove what is left of the pod", err)
		return false, true
	}
	return true, false
}
