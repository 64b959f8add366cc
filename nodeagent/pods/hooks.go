package pods

import (
	"bytes"
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// runHook runs a lifecycle handler and returns when it is over.
func (w *worker) runHook(ctx context.Context, container *v1.Container, handler *v1.LifecycleHandler, id, podIP string) error {
	switch {
	case handler.Exec != nil:
		var output runtime.Output
		code, err := w.loop.Runtime.Exec(ctx, id, handler.Exec.Command, runtime.Streams{Stdout: &output, Stderr: &output})
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("command %q exited with %d: %s", handler.Exec.Command, code, bytes.TrimSpace(output.Bytes()))
		}
		return nil
	case handler.HTTPGet != nil:
		return w.loop.Prober.HookHTTP(ctx, handler.HTTPGet, container, podIP)
	case handler.Sleep != nil:
		timer := time.NewTimer(time.Duration(handler.Sleep.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return nil
	}
	return fmt.Errorf("container %s has a lifecycle handler of a kind that kubelite does not have", container.Name)
}

// beginPostStart runs the hook beside the container; until it is over the container is not started as far as others are concerned.
func (w *worker) beginPostStart(pod *v1.Pod, container *v1.Container, id string) {
	if container.Lifecycle == nil || container.Lifecycle.PostStart == nil {
		return
	}
	w.mutex.Lock()
	w.hooks[id] = true
	w.mutex.Unlock()
	podIP := w.podIP()
	go func() {
		err := w.runHook(w.ctx, container, container.Lifecycle.PostStart, id, podIP)
		if err != nil && w.ctx.Err() == nil {
			w.log.Error("postStart hook", "container", container.Name, "error", err)
			w.event(pod, container.Name, v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
		}
		w.set(func() {
			delete(w.hooks, id)
			if state := w.probeStates[id]; state != nil && err != nil {
				state.results.failed = failedPostStart
			}
		})
	}()
}

// failedPostStart stands beside "liveness" and "startup" as what a container has failed.
const failedPostStart = "postStart"
