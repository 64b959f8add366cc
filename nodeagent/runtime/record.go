package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// record is what is known of a container, in memory and in RootDir/containers/ID/container.json. It is written before the container is made
// (not started: an unfinished one is removed by the next New), when it runs, and when it has exited.
type record struct {
	Container
	Process, Conmon process
	TTY, Stdin      bool
	StdinOnce       bool
}

func (r record) started() bool { return !r.Started.IsZero() }

// keep makes the record what memory and disk have.
func (h *Host) keep(r record) error {
	if err := writeJSON(filepath.Join(h.layerDir(r.ID), "container.json"), r); err != nil {
		return fmt.Errorf("keep record of container %s: %w", r.ID, err)
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.containers[r.ID] = r
	return nil
}

// writeJSON replaces the file at once: a reader never sees a half.
func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func readJSON(path string, value any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

// adopt reads what an earlier Host has left. Damaged and unfinished things are removed; that of one fails is logged, not fatal.
func (h *Host) adopt() error {
	h.adoptSandboxes()
	ids := map[string]bool{}
	for _, parent := range []string{h.config.RootDir, h.config.RunDir} {
		entries, err := os.ReadDir(filepath.Join(parent, "containers"))
		if err != nil {
			return fmt.Errorf("adopt containers: %w", err)
		}
		for _, entry := range entries {
			ids[entry.Name()] = true
		}
	}
	for id := range ids {
		var r record
		err := readJSON(filepath.Join(h.layerDir(id), "container.json"), &r)
		if err != nil || !r.started() {
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				slog.Warn("remove container without a readable record", "container", id, "error", err)
			}
			if err := h.discard(id, r.PodUID); err != nil {
				slog.Error("remove unfinished container", "container", id, "error", err)
			}
			continue
		}
		h.containers[id] = r
		if r.State == Exited {
			continue
		}
		if !r.Process.alive() && !r.Conmon.alive() {
			h.finish(r) // ended while no agent ran, or by a reboot
			continue
		}
		go h.watch(r)
	}
	return nil
}

// RemoveContainer removes an exited container, its bundle, writable layer and control group.
func (h *Host) RemoveContainer(_ context.Context, id string) error {
	r, ok := h.record(id)
	if ok && r.State == Running {
		return fmt.Errorf("remove container %s: %w", id, ErrRunning)
	}
	if err := h.discard(id, r.PodUID); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.containers, id)
	return nil
}

// discard removes all that there may be of a container, processes first and its record last, so that it can be tried again.
func (h *Host) discard(id, podUID string) error {
	if !isID(id) {
		return fmt.Errorf("%q is not a container's ID", id)
	}
	bundle := h.bundleDir(id)
	failures := []error{h.killLeftovers(id)}
	if podUID != "" {
		failures = append(failures, h.cgroups.remove(filepath.Join(podGroup(podUID), id)))
	}
	failures = append(failures,
		unmount(filepath.Join(bundle, "rootfs")), os.RemoveAll(filepath.Join(h.runcRoot(), id)))
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(bundle), os.RemoveAll(h.layerDir(id)))
}

// killLeftovers ends the container's first process (and with its PID namespace, all) and conmon, by their PID files if no record has them.
func (h *Host) killLeftovers(id string) error {
	bundle := h.bundleDir(id)
	for _, file := range []string{"pid", "conmon.pid"} {
		p, err := processOfFile(filepath.Join(bundle, file))
		if err != nil || !p.belongsTo(id) {
			continue // gone, or another's by now
		}
		if err := p.end(5 * time.Second); err != nil {
			return fmt.Errorf("end process %d of container: %w", p.PID, err)
		}
	}
	return nil
}

// isID keeps paths made from names on disk inside their folder.
func isID(id string) bool {
	return len(id) == 64 && !slices.ContainsFunc([]byte(id), func(c byte) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}
