package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tools are the programs that a node's agent runs, and the Debian package of each.
var tools = []struct{ program, debianPackage string }{
	{"iptables", "iptables"},
	{"iptables-restore", "iptables"},
	{"iptables-save", "iptables"},
	{"runc", "runc"},
	{"conmon", "conmon"},
}

// CheckRequirements looks for everything that a cluster needs of the machine, and returns one error that lists all that is
// missing, with the remedies.
func CheckRequirements() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster is made of network namespaces and netfilter rules, which only root can make: run it with sudo")
	}
	var programs, missing []string
	for _, tool := range tools {
		if _, err := findProgram(tool.program); err != nil {
			programs = append(programs, tool.program)
		}
	}
	err := checkOverlay()
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		missing = append(missing, fmt.Sprintf("the disk of %s is full (`df -h %[1]s` and `df -i %[1]s` show it): make room: %v", StateRoot, err))
	case errors.Is(err, unix.EROFS):
		missing = append(missing, fmt.Sprintf("the disk of %s is read-only: mount it for writing (`mount -o remount,rw`): %v", StateRoot, err))
	case err != nil:
		missing = append(missing, fmt.Sprintf("overlayfs cannot be used on %s: %v (the kernel needs CONFIG_OVERLAY_FS: modprobe overlay; and the disk a file system with extended attributes)", StateRoot, err))
	}
	if err := checkCgroups(); err != nil {
		missing = append(missing, err.Error())
	}
	if err := inScratchNamespace(func() error { return checkLinks() }); err != nil {
		missing = append(missing, err.Error())
	}
	if !slices.Contains(programs, "iptables-restore") {
		if err := inScratchNamespace(checkRules); err != nil {
			missing = append(missing, err.Error())
		}
	}
	return lacking(programs, missing)
}

// lacking is the error that lists the programs that are not installed and what else is missing; nil if nothing is.
func lacking(programs, others []string) error {
	var missing, packages []string
	for _, tool := range tools {
		if !slices.Contains(programs, tool.program) {
			continue
		}
		missing = append(missing, fmt.Sprintf("the program %s is not installed", tool.program))
		if !slices.Contains(packages, tool.debianPackage) {
			packages = append(packages, tool.debianPackage)
		}
	}
	missing = append(missing, others...)
	if missing == nil {
		return nil
	}
	message := "this machine lacks what a cluster needs:\n  - " + strings.Join(missing, "\n  - ")
	if packages != nil {
		message += "\nInstall the programs with:\n  sudo apt-get install --yes --no-install-recommends " + strings.Join(packages, " ")
	}
	return errors.New(message)
}

// findProgram returns the path by which the cluster's processes find a program. The caller's own PATH does not matter: on Debian
// an ordinary user's has no sbin in it, also after `su`.
func findProgram(program string) (string, error) {
	for _, directory := range filepath.SplitList(processPath) {
		if path, err := exec.LookPath(filepath.Join(directory, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("the program %s is not in %s", program, processPath)
}

func checkOverlay() error {
	if err := os.MkdirAll(StateRoot, 0o755); err != nil {
		return err
	}
	root, err := os.MkdirTemp(StateRoot, ".check-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	merged := filepath.Join(root, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", root)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(merged, unix.MNT_DETACH)
}

func checkCgroups() error {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var v1 []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 4:
		case fields[2] == "cgroup2" && fields[1] == cgroupRoot:
			controllers, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
			if err != nil {
				return err
			}
			return lackingControllers(string(controllers))
		case fields[2] == "cgroup":
			v1 = append(v1, strings.Split(fields[3], ",")...)
		}
	}
	for _, controller := range []string{"cpu", "memory", "pids", "devices", "freezer"} {
		if !slices.Contains(v1, controller) {
			return fmt.Errorf("the control group hierarchy %q is not mounted at /sys/fs/cgroup (boot with systemd, or mount cgroup2 there)", controller)
		}
	}
	return nil
}

// lackingControllers is the error that names the controllers which a unified hierarchy's cgroup.controllers does not have; nil if it has
// all that containers need.
func lackingControllers(have string) error {
	missing := slices.DeleteFunc([]string{"cpu", "memory", "pids"}, func(controller string) bool {
		return slices.Contains(strings.Fields(have), controller)
	})
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the control group controllers %s are not in %s/cgroup.controllers (the kernel's command line turns them off, or on a Raspberry Pi does not turn them on: cgroup_enable=memory)",
		strings.Join(missing, ", "), cgroupRoot)
}

// inScratchNamespace runs f in a network namespace that goes when f returns.
func inScratchNamespace(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("network namespaces cannot be made: %w (the kernel needs CONFIG_NET_NS)", err)
			return
		}
		result <- f()
	}()
	return <-result
}

func checkLinks() error {
	var failures []error
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "check"}}); err != nil {
		failures = append(failures, fmt.Errorf("bridges cannot be made: %w (the kernel needs CONFIG_BRIDGE: modprobe bridge)", err))
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "check0"}, PeerName: "check1"}); err != nil {
		failures = append(failures, fmt.Errorf("veth links cannot be made: %w (the kernel needs CONFIG_VETH: modprobe veth)", err))
	}
	return errors.Join(failures...)
}

// sampleRules use every match and target that the service proxy uses.
const sampleRules = `*nat
:CHECK - [0:0]
-A CHECK -m comment --comment "check" -m addrtype --dst-type LOCAL -j RETURN
-A CHECK -m statistic --mode random --probability 0.5 -j RETURN
-A CHECK -m recent --name check --rcheck --seconds 1 --reap --rsource -j RETURN
-A CHECK -m mark --mark 0x4000/0x4000 -j RETURN
-A CHECK -j MARK --set-xmark 0x4000/0x4000
-A CHECK -p udp -j DNAT --to-destination 127.0.0.1:1
-A CHECK -j MASQUERADE --random-fully
COMMIT
*filter
:CHECK - [0:0]
-A CHECK -m conntrack --ctstate INVALID -j DROP
-A CHECK -j REJECT
COMMIT
`

// checkRules loads sample rules into the scratch namespace. It starts a process from the scratch namespace's thread.
func checkRules() error {
	program, err := findProgram("iptables-restore")
	if err != nil {
		return err
	}
	command := exec.Command(program, "-w", "5")
	command.Env = environment()
	command.Stdin = strings.NewReader(sampleRules)
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("the kernel does not take the service proxy's rules: %s (it needs netfilter with nf_tables or ip_tables, conntrack, NAT, and the matches addrtype, comment, conntrack, mark, recent, statistic: modprobe -a nf_tables nft_compat nft_chain_nat xt_addrtype xt_comment xt_conntrack xt_mark xt_recent xt_statistic; where a module is not found after an upgrade of the kernel, reboot)",
		bytes.TrimSpace(bytes.ReplaceAll(output, []byte("\n"), []byte(" "))))
}
