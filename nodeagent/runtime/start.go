package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// StartContainer creates and starts a container in its Pod's sandbox. An error leaves nothing behind, and says why in runc's words.
func (h *Host) StartContainer(ctx context.Context, config ContainerConfig) (Container, error) {
	fail := func(err error) (Container, error) {
		return Container{}, fmt.Errorf("start container %s of image %q: %w", config.Name, config.Image, err)
	}
	sandbox, ok := h.sandbox(config.PodUID)
	if !ok {
		return fail(ErrNoSandbox)
	}
	if len(config.Args) == 0 {
		return fail(errors.New("no command specified"))
	}
	r := record{
		Container: Container{
			ID: newID(), PodUID: config.PodUID, Name: config.Name, Attempt: config.Attempt, Labels: config.Labels, Image: config.Image,
			ImageID: config.ImageID, State: Running, Created: time.Now(), LogPath: config.LogPath,
		},
		TTY: config.TTY, Stdin: config.Stdin, StdinOnce: config.StdinOnce,
	}
	if err := h.start(ctx, config, sandbox, &r); err != nil {
		h.mutex.Lock()
		delete(h.containers, r.ID)
		h.mutex.Unlock()
		return fail(errors.Join(err, h.discard(r.ID, r.PodUID)))
	}
	go h.watch(r)
	return r.Container, nil
}

func (h *Host) start(ctx context.Context, config ContainerConfig, sandbox sandboxRecord, r *record) error {
	bundle := h.bundleDir(r.ID)
	for _, folder := range []string{h.layerDir(r.ID), bundle} {
		if err := os.MkdirAll(folder, 0o711); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(h.layerDir(r.ID), "container.json"), r); err != nil {
		return err
	}
	at := place{
		root: filepath.Join(bundle, "rootfs"), sandboxDir: h.sandboxDir(r.PodUID), netNS: sandbox.NetNS,
		cgroup: h.cgroups.path(filepath.Join(podGroup(r.PodUID), r.ID)), v2: h.cgroups.isV2(),
	}
	if config.MemoryLimit > 0 {
		var err error
		if at.swap, err = h.cgroups.limitsSwap(); err != nil {
			return err
		}
	}
	if err := mountRoot(config.LayerDirs, h.layerDir(r.ID), at.root); err != nil {
		return err
	}
	user, err := lookupUser(at.root, config.User, config.Groups)
	if err != nil {
		return err
	}
	spec, err := buildSpec(config, user, at)
	if err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(bundle, "config.json"), spec); err != nil {
		return err
	}
	pid, err := h.createWithConmon(ctx, *r)
	if err != nil {
		return err
	}
	if r.Process, err = findProcess(pid); err != nil {
		return err
	}
	if r.Conmon, err = processOfFile(filepath.Join(bundle, "conmon.pid")); err != nil {
		return err
	}
	if err := h.runc(ctx, r.ID, "start"); err != nil {
		return err
	}
	r.PID, r.Started = pid, time.Now()
	return h.keep(*r)
}

func newID() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails
	return hex.EncodeToString(random[:])
}
