package runtime

import (
	"context"
	"io"
	"net/netip"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Runtime is what the agent's Pod loop asks of the machine. *Host is the real one; tests of the loop use a behavioural fake.
// Every method may be called concurrently; calls for one Pod are made one at a time by the Pod's worker.
type Runtime interface {
	// StartSandbox makes the Pod's namespaces and joins it to the node; a sandbox that already runs is returned as it is.
	StartSandbox(ctx context.Context, config SandboxConfig) (Sandbox, error)
	// StopSandbox removes the Pod's containers' remains and its namespaces, address and cgroup. Missing is no error.
	StopSandbox(ctx context.Context, podUID string) error
	// Sandboxes lists what runs, so that a restarted agent adopts it.
	Sandboxes(ctx context.Context) ([]Sandbox, error)

	// StartContainer creates and starts a container in its Pod's sandbox. An error leaves nothing behind.
	StartContainer(ctx context.Context, config ContainerConfig) (Container, error)
	// Containers lists all containers, running and exited, of all Pods, oldest first.
	Containers(ctx context.Context) ([]Container, error)
	// SignalContainer sends a signal to the container's first process. ErrNotRunning if it has exited.
	SignalContainer(ctx context.Context, id string, signal int) error
	// RemoveContainer removes an exited container and its filesystem (its log stays). Missing is no error.
	RemoveContainer(ctx context.Context, id string) error
	// Exits delivers a value each time a container exits, until the runtime is closed.
	Exits() <-chan Exit

	// Exec runs a command in a running container and returns its exit code.
	Exec(ctx context.Context, id string, command []string, streams Streams) (exitCode int, err error)
	// Attach joins the streams to those of the container's first process, until it exits or ctx is done.
	Attach(ctx context.Context, id string, streams Streams) error
}

// SandboxConfig describes a Pod's namespaces.
type SandboxConfig struct {
	PodUID, PodNamespace, PodName string
	Hostname                      string
	HostNetwork                   bool // the node's network namespace; no address of its own
	Sysctls                       map[string]string
	HostPorts                     []HostPort
}

// HostPort is a port of the node that leads to a container's.
type HostPort struct {
	HostIP                  string // empty: every address of the node
	HostPort, ContainerPort int32
	Protocol                string // TCP, UDP or SCTP
}

// Sandbox is a Pod's running namespaces.
type Sandbox struct {
	PodUID, PodNamespace, PodName string
	HostNetwork                   bool
	IP                            netip.Addr // of the Pod; the node's if HostNetwork
	IPv6                          netip.Addr `json:",omitzero"` // beside it in a dual-stack cluster; none if HostNetwork
	NetNS                         string     // path
	Started                       time.Time
}

// ContainerConfig describes one run of one container.
type ContainerConfig struct {
	PodUID  string
	Name    string // of the container in the Pod
	Attempt int    // 0 for the first run, then +1 a restart
	// Labels are kept with the container and returned by Containers.
	Labels map[string]string

	LayerDirs []string // read-only root layers, topmost first (images.Image.LayerDirs)
	ImageID   string   // images.Image.ID
	Image     string   // as the Pod names it

	Args       []string // argv, at least one
	Env        []string // NAME=value, in order, last one wins
	WorkingDir string
	User       string // "", "uid", "uid:gid", "name" or "name:group", looked up in the image's /etc/passwd
	Groups     []uint32

	Mounts           []specs.Mount
	ReadOnlyRoot     bool
	Privileged       bool
	AddCapabilities  []string // without CAP_
	DropCapabilities []string
	NoNewPrivileges  bool
	Seccomp          Seccomp

	CPUShares, CPUQuota int64 // cgroup v1 shares; microseconds a 100 ms period, 0: none
	MemoryLimit         int64 // bytes, 0: none
	OOMScoreAdj         int

	TTY, Stdin, StdinOnce bool
	LogPath               string // CRI log format; parent exists
}

// State is a container's.
type State string

const (
	Running State = "running"
	Exited  State = "exited"
)

// Container is one run of one container, as found on the machine.
type Container struct {
	ID               string // 64 hex digits
	PodUID, Name     string
	Attempt          int
	Labels           map[string]string
	Image, ImageID   string
	State            State
	PID              int
	Created, Started time.Time
	Finished         time.Time // zero while running
	ExitCode         int
	OOMKilled        bool
	LogPath          string
}

// Exit tells that a container has exited; Containers says how.
type Exit struct{ ID, PodUID string }

// Streams are the ends of an exec or attach. Nil ones are not connected.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	Resize         <-chan TerminalSize
}

// TerminalSize is in characters.
type TerminalSize struct{ Width, Height uint16 }
