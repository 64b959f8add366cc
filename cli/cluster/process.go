package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
)

// process is one of the cluster's long-running processes: "server", or a node's agent by the node's name.
type process struct {
	name    string
	pidFile string // in RunDir: "PID START", so that a reused pid is not mistaken for it
	logFile string
	cgroup  string // in the unified hierarchy, "/kubelite/NAME/server"; empty: the one of the process that starts it
}

func (c *Cluster) process(name string) process {
	group := filepath.Join(c.CgroupParent(), name)
	if name != "server" {
		group = filepath.Join(group, "agent") // beside those of the node's conmons and Pods
	}
	return process{name, c.RunDir(name + ".pid"), c.Dir("logs", name+".log"), group}
}

// processes are all processes that the cluster should have, the server first.
func (c *Cluster) processes() []process {
	all := []process{c.process("server")}
	for _, node := range c.Network.NodeList() {
		all = append(all, c.process(node.Name))
	}
	return all
}

// pid is the running process's, or 0.
func (p process) pid() int {
	data, err := os.ReadFile(p.pidFile)
	if err != nil {
		return 0
	}
	var pid int
	var start string
	if _, err := fmt.Sscan(string(data), &pid, &start); err != nil {
		return 0
	}
	if now, err := startTime(pid); err != nil || now != start {
		return 0
	}
	return pid
}

// adopt looks for a process that was started with these first arguments and has no pid file, since the `up` that started it was
// killed before it could write one, and writes it.
func (p process) adopt(arguments []string) (bool, error) {
	pids, err := startedWith(arguments)
	if err != nil || len(pids) == 0 {
		return false, err
	}
	start, err := startTime(pids[0])
	if err != nil {
		return false, nil // it has ended
	}
	return true, p.remember(pids[0], start)
}

// remember writes the pid file.
func (p process) remember(pid int, start string) error {
	return writeFile(p.pidFile, fmt.Appendf(nil, "%d %s\n", pid, start), 0o644)
}

// startedWith lists the processes whose arguments after the program's name begin with these.
func startedWith(arguments []string) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	wanted := strings.Join(arguments, "\x00") + "\x00"
	var pids []int
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), "\x00")
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && strings.HasPrefix(rest, wanted) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// runsWith says whether the process was started with exactly these arguments after the program's name.
func runsWith(pid int, arguments []string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	_, rest, _ := strings.Cut(string(data), "\x00")
	return err == nil && rest == strings.Join(arguments, "\x00")+"\x00"
}

// start runs the process detached from this one, in the namespace at path, with its output appended to its log.
// extra are inherited as file descriptors 3 and on. The returned channel delivers how it ended, if it ends while this process
// lives. The process has a control group of its own: in this one's, it would end with the login session or the systemd unit of
// `kubelite up`, where systemd ends what is left in those (KillUserProcesses=, KillMode=).
func (p process) start(path, executable string, arguments []string, extra ...*os.File) (<-chan error, error) {
	if err := os.MkdirAll(filepath.Dir(p.logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(executable, arguments...)
	command.Dir = "/"
	command.Env = environment()
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = extra
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	group, err := openCgroup(p.cgroup)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if group != nil {
		defer group.Close()
		command.SysProcAttr.UseCgroupFD, command.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := netns.Start(path, command); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }() // ends with the child, or with this process
	start, err := startTime(command.Process.Pid)
	if err == nil {
		err = p.remember(command.Process.Pid, start)
	}
	if err != nil {
		_ = command.Process.Kill() // the error that follows tells more
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return ended, nil
}

// processPath is where the cluster's processes look for programs.
const processPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what the cluster's processes keep of this one's: what image pulls need, and nothing that differs from user to user.
func environment() []string {
	kept := []string{"PATH=" + processPath, "HOME=/root"}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GOTRACEBACK", "GORACE", "GOCOVERDIR":
			kept = append(kept, variable)
		}
	}
	return kept
}

// logSize is how long the process's log is now, in bytes.
func (p process) logSize() int64 {
	info, err := os.Stat(p.logFile)
	if err != nil {
		return 0
	}
	return info.Size()
}

// lastLines are the last n lines of the process's log, of those after the offset.
func (p process) lastLines(n int, offset int64) string {
	file, err := os.Open(p.logFile)
	if err != nil {
		return ""
	}
	defer file.Close()
	if _, err := file.Seek(max(offset, p.logSize()-16<<10), io.SeekStart); err != nil {
		return ""
	}
	var lines []string
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		lines = append(lines, "  "+scanner.Text())
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// startTime is the pid's start, in clock ticks since boot: with the pid it names a process for ever.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// pss is the proportional set size of a process in bytes: its own memory and its share of what it shares.
func pss(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no Pss", pid)
}

// kill ends processes at once and waits until they are gone. Ones that have ended already are no error.
func kill(pids []int, timeout time.Duration) error {
	var files []*os.File
	var failures []error
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("end process %d: %w", pid, err))
			continue
		}
		file := os.NewFile(uintptr(fd), strconv.Itoa(pid))
		defer file.Close()
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			failures = append(failures, fmt.Errorf("end process %d: %w", pid, err))
			continue
		}
		files = append(files, file)
	}
	deadline := time.Now().Add(timeout)
	for _, file := range files {
		if err := waitGone(file, deadline); err != nil {
			failures = append(failures, fmt.Errorf("end process %s: %w", file.Name(), err))
		}
	}
	return errors.Join(failures...)
}

// waitGone waits until the process of a pidfd has ended.
func waitGone(pidfd *os.File, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errors.New("it does not end")
		}
		poll := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}
