package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const cpuPeriod = 100_000 // microseconds

// Paths that CRI runtimes hide from unprivileged containers, or make read-only.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// place is where on the machine a container is made.
type place struct {
	root       string // mount point of the root filesystem
	sandboxDir string
	netNS      string // empty: the caller's
	cgroup     string
	v2         bool // of control groups
	swap       bool // can be limited
}

// buildSpec is the OCI runtime specification of a container, as a CRI runtime makes it.
func buildSpec(config ContainerConfig, user specs.User, at place) (*specs.Spec, error) {
	granted := capabilities(config)
	workingDir := config.WorkingDir
	if workingDir == "" {
		workingDir = "/"
	}
	oomScore := config.OOMScoreAdj
	spec := &specs.Spec{
		Version: "1.0.2", // what runc 1.1 knows
		Root:    &specs.Root{Path: at.root, Readonly: config.ReadOnlyRoot},
		Process: &specs.Process{
			Terminal: config.TTY, User: user, Args: config.Args, Env: environment(config.Env), Cwd: workingDir,
			Capabilities:    &specs.LinuxCapabilities{Bounding: granted, Effective: granted, Permitted: granted},
			Rlimits:         openFiles(),
			NoNewPrivileges: config.NoNewPrivileges, OOMScoreAdj: &oomScore,
		},
		Mounts: mounts(config, at),
		Linux: &specs.Linux{
			CgroupsPath: at.cgroup, Namespaces: namespaces(at), Resources: resources(config, at),
		},
	}
	if config.Privileged {
		devices, err := machineDevices("/dev")
		if err != nil {
			return nil, err
		}
		spec.Linux.Devices = devices
		return spec, nil
	}
	spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = maskedPaths, readonlyPaths
	if config.Seccomp == SeccompRuntimeDefault {
		spec.Linux.Seccomp = defaultSeccomp(granted)
	}
	return spec, nil
}

// environment has PATH, which runc needs to find a program by name.
func environment(variables []string) []string {
	if slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		return variables
	}
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, variables...)
}

// openFiles is Docker's limit of open files, or the agent's own where that is lower and may not be raised.
func openFiles() []specs.POSIXRlimit {
	limit := uint64(1 << 20)
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err == nil {
		limit = min(limit, own.Max)
	}
	return []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: limit, Hard: limit}}
}

func namespaces(at place) []specs.LinuxNamespace {
	list := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
		{Type: specs.IPCNamespace, Path: filepath.Join(at.sandboxDir, "ipc")},
		{Type: specs.UTSNamespace, Path: filepath.Join(at.sandboxDir, "uts")},
	}
	if at.netNS != "" {
		list = append(list, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: at.netNS})
	}
	if at.v2 {
		list = append(list, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return list
}

// mounts are the usual ones, then the container's own, parents before children. The container's win over the usual.
func mounts(config ContainerConfig, at place) []specs.Mount {
	access := "ro"
	if config.Privileged {
		access = "rw"
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "bind", Source: filepath.Join(at.sandboxDir, "shm"), Options: []string{"rw", "bind"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", access}},
		{Destination: "/etc/hostname", Type: "bind", Source: filepath.Join(at.sandboxDir, "hostname"), Options: []string{"bind", "ro"}},
	}
	own := slices.Clone(config.Mounts)
	list = slices.DeleteFunc(list, func(usual specs.Mount) bool {
		return slices.ContainsFunc(own, func(m specs.Mount) bool { return filepath.Clean(m.Destination) == usual.Destination })
	})
	slices.SortStableFunc(own, func(a, b specs.Mount) int {
		return strings.Count(filepath.Clean(a.Destination), "/") - strings.Count(filepath.Clean(b.Destination), "/")
	})
	return append(list, own...)
}

func resources(config ContainerConfig, at place) *specs.LinuxResources {
	limits := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: config.Privileged, Access: "rwm"}},
		CPU:     &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{},
	}
	if config.CPUShares > 0 {
		shares := uint64(config.CPUShares)
		limits.CPU.Shares = &shares
	}
	if config.CPUQuota > 0 {
		quota, period := config.CPUQuota, uint64(cpuPeriod)
		limits.CPU.Quota, limits.CPU.Period = &quota, &period
	}
	if config.MemoryLimit > 0 {
		limit := config.MemoryLimit
		limits.Memory.Limit = &limit
		if at.swap {
			limits.Memory.Swap = &limit // memory and swap together
		}
	}
	if at.v2 { // a container that is out of memory ends as a whole, as with the kubelet
		limits.Unified = map[string]string{"memory.oom.group": "1"}
	}
	return limits
}

// machineDevices are the devices of a privileged container: the machine's, without those that each container has of its own.
func machineDevices(folder string) ([]specs.LinuxDevice, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	var devices []specs.LinuxDevice
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if entry.IsDir() {
			if path == "/dev/pts" || path == "/dev/shm" || path == "/dev/mqueue" {
				continue
			}
			below, err := machineDevices(path)
			if err != nil {
				return nil, err
			}
			devices = append(devices, below...)
			continue
		}
		var stat unix.Stat_t
		if entry.Type()&os.ModeDevice == 0 || path == "/dev/console" || path == "/dev/ptmx" || unix.Lstat(path, &stat) != nil {
			continue // not a device, the container's own, or just gone
		}
		kind := "b"
		if entry.Type()&os.ModeCharDevice != 0 {
			kind = "c"
		}
		mode, uid, gid := os.FileMode(stat.Mode&0o777), stat.Uid, stat.Gid
		devices = append(devices, specs.LinuxDevice{
			Path: path, Type: kind, Major: int64(unix.Major(uint64(stat.Rdev))), Minor: int64(unix.Minor(uint64(stat.Rdev))), FileMode: &mode, UID: &uid, GID: &gid,
		})
	}
	return devices, nil
}
