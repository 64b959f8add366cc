package runtime

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// defaultCapabilities are Docker's, which CRI runtimes have as well.
var defaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT",
	"KILL", "AUDIT_WRITE",
}

// capabilityNames are in the kernel's order: the index is the number.
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
	"NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
	"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// allCapabilities are those that this process may hand on: in a virtual machine or container of its own it may not have every one that
// the kernel knows.
var allCapabilities = sync.OnceValue(func() []string {
	status, _ := os.ReadFile("/proc/self/status") // unreadable: all are tried, and runc says which it has not
	return boundingSet(string(status))
})

// boundingSet reads the CapBnd line of a process's status: a number in hex whose bits are capabilities. All if there is none.
func boundingSet(status string) []string {
	_, rest, _ := strings.Cut(status, "CapBnd:")
	line, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return capabilityNames
	}
	var names []string
	for i, name := range capabilityNames {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// capabilities are the container's, as CAP_NAME, in the kernel's order. "ALL" is known in both lists; what is added wins over a dropped ALL.
func capabilities(config ContainerConfig) []string {
	granted := map[string]bool{}
	set := func(names []string, value bool) {
		for _, name := range names {
			granted[strings.TrimPrefix(strings.ToUpper(name), "CAP_")] = value
		}
	}
	set(defaultCapabilities, true)
	if config.Privileged || slices.ContainsFunc(config.AddCapabilities, isAll) {
		set(allCapabilities(), true)
	}
	if !config.Privileged {
		if slices.ContainsFunc(config.DropCapabilities, isAll) {
			clear(granted)
		}
		set(slices.DeleteFunc(slices.Clone(config.AddCapabilities), isAll), true)
		set(slices.DeleteFunc(slices.Clone(config.DropCapabilities), isAll), false)
	}
	var result []string
	for _, name := range capabilityNames { // one that is asked for by name and cannot be had is an error of runc's
		if granted[name] {
			result = append(result, "CAP_"+name)
		}
	}
	return result
}

func isAll(name string) bool { return strings.EqualFold(name, "ALL") }
