package pods

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/environment"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// fakeRuntime is a machine in memory: containers run until they are stopped, or as long as their image's program says.
type fakeRuntime struct {
	mutex      sync.Mutex
	sandboxes  map[string]runtime.Sandbox
	containers []runtime.Container
	exits      chan runtime.Exit
	next       int
	starts     []string
	signals    []string
	startError error
	ignoreTERM bool
	exitCode   map[string]int // by container name: exits at once with it
	exec       func(command []string) (int, error)
}

func newFakeRuntime() *fakeRuntime {
	return &fakeRuntime{sandboxes: map[string]runtime.Sandbox{}, exits: make(chan runtime.Exit, 100), exitCode: map[string]int{}}
}

func (f *fakeRuntime) StartSandbox(_ context.Context, config runtime.SandboxConfig) (runtime.Sandbox, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if sandbox, there := f.sandboxes[config.PodUID]; there {
		return sandbox, nil
	}
	f.next++
	sandbox := runtime.Sandbox{
		PodUID: config.PodUID, PodNamespace: config.PodNamespace, PodName: config.PodName, HostNetwork: config.HostNetwork,
		IP: netip.AddrFrom4([4]byte{10, 244, 0, byte(1 + f.next)}), Started: time.Now(),
	}
	f.sandboxes[config.PodUID] = sandbox
	return sandbox, nil
}

func (f *fakeRuntime) StopSandbox(_ context.Context, uid string) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.sandboxes, uid)
	f.containers = slices.DeleteFunc(f.containers, func(c runtime.Container) bool { return c.PodUID == uid })
	return nil
}

func (f *fakeRuntime) Sandboxes(context.Context) ([]runtime.Sandbox, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var all []runtime.Sandbox
	for _, sandbox := range f.sandboxes {
		all = append(all, sandbox)
	}
	return all, nil
}

func (f *fakeRuntime) StartContainer(_ context.Context, config runtime.ContainerConfig) (runtime.Container, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.startError != nil {
		return runtime.Container{}, f.startError
	}
	if _, there := f.sandboxes[config.PodUID]; !there {
		return runtime.Container{}, errors.New("no sandbox")
	}
	f.next++
	now := time.Now()
	container := runtime.Container{
		ID: fmt.Sprintf("%064x", f.next), PodUID: config.PodUID, Name: config.Name, Attempt: config.Attempt, Labels: config.Labels,
		Image: config.Image, ImageID: config.ImageID, State: runtime.Running, PID: f.next, Created: now, Started: now, LogPath: config.LogPath,
	}
	if err := os.WriteFile(config.LogPath, []byte(now.UTC().Format(time.RFC3339Nano)+" stdout F hello\n"), 0o600); err != nil {
		return runtime.Container{}, err
	}
	f.containers = append(f.containers, container)
	f.starts = append(f.starts, fmt.Sprintf("%s/%d", config.Name, config.Attempt))
	if code, exits := f.exitCode[config.Name]; exits {
		go f.exit(container.ID, code)
	}
	return container, nil
}

func (f *fakeRuntime) exit(id string, code int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for i := range f.containers {
		if container := &f.containers[i]; container.ID == id && container.State == runtime.Running {
			container.State, container.ExitCode, container.Finished = runtime.Exited, code, time.Now()
			f.exits <- runtime.Exit{ID: id, PodUID: container.PodUID}
		}
	}
}

// exitByName ends the running container of this name.
func (f *fakeRuntime) exitByName(name string, code int) {
	for _, container := range f.list() {
		if container.Name == name && container.State == runtime.Running {
			f.exit(container.ID, code)
		}
	}
}

func (f *fakeRuntime) list() []runtime.Container {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.containers)
}

func (f *fakeRuntime) Containers(context.Context) ([]runtime.Container, error) { return f.list(), nil }

func (f *fakeRuntime) SignalContainer(_ context.Context, id string, signal int) error {
	f.mutex.Lock()
	f.signals = append(f.signals, unix.SignalName(unix.Signal(signal)))
	ignored := f.ignoreTERM && signal != int(unix.SIGKILL)
	f.mutex.Unlock()
	if !ignored {
		f.exit(id, 128+signal)
	}
	return nil
}

func (f *fakeRuntime) RemoveContainer(_ context.Context, id string) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.containers = slices.DeleteFunc(f.containers, func(c runtime.Container) bool { return c.ID == id })
	return nil
}

func (f *fakeRuntime) Exits() <-chan runtime.Exit { return f.exits }

func (f *fakeRuntime) Exec(_ context.Context, _ string, command []string, _ runtime.Streams) (int, error) {
	f.mutex.Lock()
	exec := f.exec
	f.mutex.Unlock()
	if exec == nil {
		return 0, nil
	}
	return exec(command)
}

func (f *fakeRuntime) Attach(context.Context, string, runtime.Streams) error { return nil }

func (f *fakeRuntime) started() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.starts)
}

func (f *fakeRuntime) signalled() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.signals)
}

// fakeImages has what is put in, and pulls what is in pullable.
type fakeImages struct {
	mutex    sync.Mutex
	there    map[string]*Image
	pullable map[string]*Image
}

func (f *fakeImages) Get(name string) (*Image, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if image := f.there[name]; image != nil {
		return image, nil
	}
	return nil, ErrImageNotFound
}

func (f *fakeImages) Pull(_ context.Context, name string, _ []*v1.Secret) (*Image, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if image := f.pullable[name]; image != nil {
		f.there[name] = image
		return image, nil
	}
	return nil, fmt.Errorf("registry example.test: no such image %s", name)
}

// fakeVolumes counts.
type fakeVolumes struct {
	mutex sync.Mutex
	made  map[string]bool
	count map[string]int // of SetUp calls, by Pod name
}

func (f *fakeVolumes) setUps(pod string) int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.count[pod]
}

func (f *fakeVolumes) SetUp(_ context.Context, pod *v1.Pod, _ environment.Facts) (time.Time, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.made[string(pod.UID)] = true
	f.count[pod.Name]++
	return time.Time{}, nil
}

func (f *fakeVolumes) Mounts(*v1.Pod, *v1.Container, []v1.EnvVar) ([]specs.Mount, error) {
	return nil, nil
}

func (f *fakeVolumes) TearDown(uid string) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.made, uid)
	return nil
}

func (f *fakeVolumes) List() ([]string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var uids []string
	for uid := range f.made {
		uids = append(uids, uid)
	}
	return uids, nil
}
