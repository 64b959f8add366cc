package pods

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/environment"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

const (
	reasonConfigError = "CreateContainerConfigError"
	reasonRunError    = "RunContainerError"
	reasonCrashLoop   = "CrashLoopBackOff"
)

// startContainer runs the container once more, and says whether that changed anything. What keeps it from running is in its waiting
// reason and in events.
func (w *worker) startContainer(ctx context.Context, pod *v1.Pod, container *v1.Container) bool {
	if container == nil {
		return false
	}
	attempt := 0
	if run := (&observed{containers: w.containers}).latest(container.Name); run != nil {
		if run.State == runtime.Running {
			return false
		}
		attempt = run.Attempt + 1
		if w.backsOff(pod, container, run) {
			return true
		}
	}
	before := w.waiting[container.Name]
	image := w.ensureImage(pod, container)
	if image == nil {
		return w.waiting[container.Name] != before
	}
	config, err := w.containerConfig(ctx, pod, container, image, attempt)
	if err != nil {
		w.cannotStart(ctx, pod, container, reasonConfigError, err)
		return true
	}
	started, err := w.loop.Runtime.StartContainer(ctx, config)
	if err != nil {
		w.cannotStart(ctx, pod, container, reasonRunError, err)
		return true
	}
	w.event(pod, container.Name, v1.EventTypeNormal, "Created", "Container created")
	w.event(pod, container.Name, v1.EventTypeNormal, "Started", "Container started")
	w.announceStandIn(pod, container, image)
	delete(w.waiting, container.Name)
	w.containers = append(w.containers, started)
	w.beginPostStart(pod, container, started.ID)
	w.watchProbes()
	return true
}

// backsOff says whether the container has exited too lately, or too often, to run again now.
func (w *worker) backsOff(pod *v1.Pod, container *v1.Container, run *runtime.Container) bool {
	if wait := w.waiting[container.Name]; wait.reason != "" && wait.reason != reasonCrashLoop {
		return false // it is being restarted, and waits for something else: that has a back-off of its own
	}
	crashes := w.crashes[container.Name]
	if crashes == nil {
		crashes = &crashBackOff{}
		w.crashes[container.Name] = crashes
	}
	until := crashes.next(run.Finished, w.loop.Now())
	if until.IsZero() {
		return false
	}
	owner := fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
	w.event(pod, container.Name, v1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", container.Name, owner))
	w.waiting[container.Name] = waitReason{
		reason: reasonCrashLoop, until: until,
		message: fmt.Sprintf("back-off %v restarting failed container=%s pod=%s", crashes.delay, container.Name, owner),
	}
	return true
}

// cannotStart notes why, and tries again later.
func (w *worker) cannotStart(ctx context.Context, pod *v1.Pod, container *v1.Container, reason string, err error) {
	if ctx.Err() != nil {
		return
	}
	delay := 10 * time.Second
	if reason == reasonRunError {
		crashes := w.crashes[container.Name]
		if crashes == nil {
			crashes = &crashBackOff{}
			w.crashes[container.Name] = crashes
		}
		now := w.loop.Now()
		crashes.next(now.Add(-crashes.delay), now)
		delay = crashes.delay
	}
	w.event(pod, container.Name, v1.EventTypeWarning, "Failed", fmt.Sprintf("Error: %v", err))
	w.waiting[container.Name] = waitReason{reason: reason, message: err.Error(), until: w.loop.Now().Add(delay)}
}

// containerConfig is all that the runtime needs. Its errors are the user's to mend (CreateContainerConfigError).
func (w *worker) containerConfig(ctx context.Context, pod *v1.Pod, container *v1.Container, image *Image, attempt int) (runtime.ContainerConfig, error) {
	config := runtime.ContainerConfig{
		PodUID: string(pod.UID), Name: container.Name, Attempt: attempt,
		Labels: map[string]string{
			labelPodName: pod.Name, labelPodNamespace: pod.Namespace, labelPodUID: string(pod.UID), labelContainerName: container.Name,
			labelImageRef: image.Reference, labelStopSignal: image.StopSignal,
		},
		LayerDirs: image.LayerDirs, ImageID: image.ID, Image: container.Image, WorkingDir: container.WorkingDir,
		TTY: container.TTY, Stdin: container.Stdin, StdinOnce: container.StdinOnce, LogPath: w.logPath(container.Name, attempt),
	}
	if config.WorkingDir == "" {
		config.WorkingDir = image.WorkingDir
	}
	if err := applySecurity(&config, pod, container, image.User); err != nil {
		return config, err
	}
	applyResources(&config, pod, container, w.loop.MemoryCapacity)
	variables, err := environment.Variables(ctx, pod, container, w.loop.Services(), w.loop.Objects, w.facts())
	if err != nil {
		return config, err
	}
	if config.Args, err = environment.Arguments(container, variables, image.Entrypoint, image.Cmd); err != nil {
		return config, err
	}
	nodename, err := w.loop.DNS.nodename(pod, w.loop.NodeName)
	if err != nil {
		return config, err
	}
	config.Env = environment.Environ(image.Env, nodename, variables)
	if container.TTY {
		config.Env = append([]string{"TERM=xterm"}, config.Env...)
	}
	config.Mounts, err = w.mounts(pod, container, variables, attempt)
	if err != nil {
		return config, err
	}
	if err := os.MkdirAll(filepath.Dir(config.LogPath), 0o755); err != nil {
		return config, fmt.Errorf("make log folder: %w", err)
	}
	return config, nil
}

// mounts are the container's volumes and the files that every container gets: /etc/hosts, /etc/resolv.conf, the termination log.
func (w *worker) mounts(pod *v1.Pod, container *v1.Container, variables []v1.EnvVar, attempt int) ([]specs.Mount, error) {
	mounts, err := w.loop.Volumes.Mounts(pod, container, variables)
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, mount := range mounts {
		taken[filepath.Clean(mount.Destination)] = true
	}
	add := func(path, content, destination string) error {
		if taken[destination] {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make %s of container %s: %w", destination, container.Name, err)
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(path, ".termination") {
			mode = 0o666
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			return fmt.Errorf("make %s of container %s: %w", destination, container.Name, err)
		}
		if err := os.Chmod(path, mode); err != nil { // the process's umask does not count
			return fmt.Errorf("make %s of container %s: %w", destination, container.Name, err)
		}
		mounts = append(mounts, specs.Mount{Destination: destination, Type: "bind", Source: path, Options: []string{"rbind", "rprivate", "rw"}})
		return nil
	}
	folder := filepath.Join(w.loop.PodDir, string(w.uid))
	hosts, err := w.loop.DNS.hostsFile(pod, w.podIPs(), w.loop.NodeName)
	if err != nil {
		return nil, err
	}
	if err := add(filepath.Join(folder, "etc-hosts"), hosts, "/etc/hosts"); err != nil {
		return nil, err
	}
	resolvers, err := w.loop.DNS.resolvConf(pod)
	if err != nil {
		return nil, err
	}
	if err := add(filepath.Join(folder, "resolv.conf"), resolvers, "/etc/resolv.conf"); err != nil {
		return nil, err
	}
	if path := container.TerminationMessagePath; path != "" {
		return mounts, add(w.terminationLog(container.Name, attempt), "", path)
	}
	return mounts, nil
}
