package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// exitCodeUnknown is what Kubernetes reports for a container whose end nobody has seen.
const exitCodeUnknown = 137

// watch waits for the container's end, notes it and tells of it. It ends with the container, or with Close.
func (h *Host) watch(r record) {
	for _, process := range []process{r.Conmon, r.Process} { // conmon's end is the container's, unless someone has killed conmon
		if err := process.wait(0, h.closed); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) { // Close
				slog.Error("wait for the end of container", "container", r.ID, "error", err)
			}
			return
		}
	}
	h.finish(r)
	select {
	case h.exits <- Exit{ID: r.ID, PodUID: r.PodUID}:
	case <-h.closed:
	}
}

// finish notes how the container has ended; that of one which was removed meanwhile, or has been noted already, is dropped.
func (h *Host) finish(r record) {
	r.State, r.PID = Exited, 0
	r.ExitCode, r.Finished = h.exitOf(r.ID)
	r.OOMKilled = h.cgroups.oomKilled(filepath.Join(podGroup(r.PodUID), r.ID))
	h.mutex.Lock()
	current, known := h.containers[r.ID]
	if known && current.State == Running {
		h.containers[r.ID] = r
	}
	h.mutex.Unlock()
	if !known || current.State != Running {
		return
	}
	if err := writeJSON(filepath.Join(h.layerDir(r.ID), "container.json"), r); err != nil && !errors.Is(err, os.ErrNotExist) {
		slog.Error("keep record of container", "container", r.ID, "error", err)
	}
}

// exitOf reads conmon's exit file: the exit code, written when the container ended.
func (h *Host) exitOf(id string) (code int, finished time.Time) {
	path := filepath.Join(h.bundleDir(id), "exit", id)
	data, err := os.ReadFile(path)
	if err != nil {
		return exitCodeUnknown, time.Now()
	}
	finished = time.Now()
	if info, err := os.Stat(path); err == nil {
		finished = info.ModTime()
	}
	code, err = strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return exitCodeUnknown, finished
	}
	return code, finished
}

// SignalContainer sends a signal to the container's first process.
func (h *Host) SignalContainer(_ context.Context, id string, signal int) error {
	r, ok := h.record(id)
	if !ok || r.State != Running {
		return fmt.Errorf("signal container %s: %w", id, ErrNotRunning)
	}
	if err := r.Process.signal(unix.Signal(signal)); err != nil {
		return fmt.Errorf("signal container %s: %w", id, err)
	}
	return nil
}
