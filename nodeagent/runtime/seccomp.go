package runtime

import (
	goruntime "runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Seccomp is which system calls a container may make, by the names of a Pod's securityContext.seccompProfile.type.
type Seccomp string

const (
	SeccompUnconfined     Seccomp = ""               // every one; Kubernetes' default
	SeccompRuntimeDefault Seccomp = "RuntimeDefault" // not those that are of use only against the machine
)

// guardedCalls are refused (EPERM) unless the container has the capability; an empty one is never granted. The profiles of CRI runtimes list
// what is allowed; the list of what they refuse says the same in fewer words, and a filter of 50 comparisons is installed faster than one of 350.
var guardedCalls = map[string][]string{
	"": {"kexec_load", "kexec_file_load", "add_key", "keyctl", "request_key", "nfsservctl", "uselib", "userfaultfd", "ustat", "sysfs",
		"_sysctl", "io_uring_setup", "io_uring_enter", "io_uring_register"},
	"CAP_SYS_ADMIN": {"bpf", "perf_event_open", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr", "move_mount",
		"open_tree", "pivot_root", "quotactl", "quotactl_fd", "setns", "swapon", "swapoff", "umount", "umount2", "unshare"},
	"CAP_SYS_BOOT":        {"reboot"},
	"CAP_SYS_MODULE":      {"create_module", "delete_module", "finit_module", "init_module", "query_module", "get_kernel_syms"},
	"CAP_SYS_PACCT":       {"acct"},
	"CAP_SYS_RAWIO":       {"iopl", "ioperm"},
	"CAP_SYS_TIME":        {"settimeofday", "stime", "clock_settime", "clock_settime64"},
	"CAP_SYS_TTY_CONFIG":  {"vhangup"},
	"CAP_SYS_NICE":        {"mbind", "set_mempolicy", "move_pages", "migrate_pages"},
	"CAP_DAC_READ_SEARCH": {"open_by_handle_at"},
}

// architectures are a machine's own and those that it runs besides. The filter of one that is not listed is for its own only.
var architectures = map[string][]specs.Arch{
	"amd64": {specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
	"arm64": {specs.ArchAARCH64, specs.ArchARM},
}

// defaultSeccomp refuses the guarded calls for which the capability is not granted, and new namespaces by clone.
func defaultSeccomp(granted []string) *specs.LinuxSeccomp {
	has := map[string]bool{}
	for _, capability := range granted {
		has[capability] = true
	}
	var refused []string
	for capability, calls := range guardedCalls {
		if capability == "" || !has[capability] {
			refused = append(refused, calls...)
		}
	}
	refuse, missing := uint(unix.EPERM), uint(unix.ENOSYS)
	profile := &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Architectures: architectures[goruntime.GOARCH],
		Syscalls:      []specs.LinuxSyscall{{Names: refused, Action: specs.ActErrno, ErrnoRet: &refuse}},
	}
	if !has["CAP_SYS_ADMIN"] {
		const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
		for bit := uint64(1); bit <= namespaces; bit <<= 1 {
			if namespaces&bit != 0 {
				profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{
					Names: []string{"clone"}, Action: specs.ActErrno, ErrnoRet: &refuse,
					Args: []specs.LinuxSeccompArg{{Index: 0, Value: bit, ValueTwo: bit, Op: specs.OpMaskedEqual}},
				})
			}
		}
		// its flags are behind a pointer: without it libc falls back to clone
		profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &missing})
	}
	return profile
}
