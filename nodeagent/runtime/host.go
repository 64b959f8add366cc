package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"github.com/kubelite/kubelite/nodeagent/network"
)

var (
	// ErrNotRunning is returned when a container has exited, or does not exist.
	ErrNotRunning = errors.New("container is not running")
	// ErrNoSandbox is returned when a container is to start in a Pod that has no sandbox.
	ErrNoSandbox = errors.New("the Pod has no sandbox")
	// ErrRunning is returned when a running container is to be removed.
	ErrRunning = errors.New("container is running")
)

// Config says where a Host keeps things. All paths are absolute.
type Config struct {
	RootDir      string // containers' records and writable layers; outlives a reboot
	RunDir       string // what a reboot takes away; on a tmpfs
	NetNSPrefix  string // Pod namespaces are /run/netns/PREFIX-pod-UID
	CgroupParent string // "/kubelite/CLUSTER/NODE"
	Network      *network.Node
	Runc, Conmon string // paths; empty: looked up in PATH
}

// Host is the machine as a Runtime.
type Host struct {
	config  Config
	cgroups cgroups
	exits   chan Exit
	closed  chan struct{}

	mutex      sync.Mutex // of the maps; values are replaced, never changed
	containers map[string]record
	sandboxes  map[string]sandboxRecord
}

var _ Runtime = (*Host)(nil)

// New returns a Host that has adopted what an earlier one left in the folders of config. What it had left half-made is removed.
func New(config Config) (*Host, error) {
	h := &Host{
		config: config, exits: make(chan Exit), closed: make(chan struct{}),
		containers: map[string]record{}, sandboxes: map[string]sandboxRecord{},
	}
	for _, program := range []struct {
		path *string
		name string
	}{{&h.config.Runc, "runc"}, {&h.config.Conmon, "conmon"}} {
		if *program.path != "" {
			continue
		}
		path, err := exec.LookPath(program.name)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w; install it: apt-get install %s", program.name, err, program.name)
		}
		*program.path = path
	}
	for _, folder := range []string{
		filepath.Join(config.RootDir, "containers"), filepath.Join(config.RunDir, "containers"), filepath.Join(config.RunDir, "sandboxes"), h.runcRoot(),
	} {
		if err := os.MkdirAll(folder, 0o711); err != nil {
			return nil, fmt.Errorf("make runtime folder: %w", err)
		}
	}
	var err error
	if h.cgroups, err = findCgroups(config.CgroupParent); err != nil {
		return nil, err
	}
	if err := h.adopt(); err != nil {
		return nil, err
	}
	return h, nil
}

// Close stops the delivery of exits. Containers go on.
func (h *Host) Close() { close(h.closed) }

// Exits delivers a value each time a container exits. Exits before New are not delivered: Containers tells of them.
func (h *Host) Exits() <-chan Exit { return h.exits }

// Containers lists all containers, oldest first.
func (h *Host) Containers(context.Context) ([]Container, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	containers := make([]Container, 0, len(h.containers))
	for _, record := range h.containers {
		if record.started() {
			containers = append(containers, record.Container)
		}
	}
	slices.SortFunc(containers, func(a, b Container) int { return a.Created.Compare(b.Created) })
	return containers, nil
}

func (h *Host) record(id string) (record, bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	record, ok := h.containers[id]
	return record, ok
}

func (h *Host) runcRoot() string           { return filepath.Join(h.config.RunDir, "runc") }
func (h *Host) layerDir(id string) string  { return filepath.Join(h.config.RootDir, "containers", id) }
func (h *Host) bundleDir(id string) string { return filepath.Join(h.config.RunDir, "containers", id) }
