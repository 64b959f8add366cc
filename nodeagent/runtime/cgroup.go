package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups are the machine's hierarchies below one group: the single one of v2, or those of v1 and, where there is one, the
// "unified" one beside them.
type cgroups struct {
	parent  string            // "/kubelite/CLUSTER/NODE"
	v2      string            // mount point of the unified hierarchy; empty if there is none
	v1      map[string]string // mount points by controller; empty on a machine with v2 only
	folders []string          // all mount points
}

// findCgroups reads the mount table.
func findCgroups(parent string) (cgroups, error) {
	found := cgroups{parent: parent, v1: map[string]string{}}
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return found, fmt.Errorf("find control groups: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[1], "/sys/fs/cgroup") {
			continue
		}
		switch fields[2] {
		case "cgroup2":
			found.v2 = fields[1]
		case "cgroup":
			for _, option := range strings.Split(fields[3], ",") {
				found.v1[option] = fields[1]
			}
		default:
			continue
		}
		found.folders = append(found.folders, fields[1])
	}
	if err := lines.Err(); err != nil {
		return found, fmt.Errorf("find control groups: %w", err)
	}
	if len(found.folders) == 0 {
		return found, errors.New("find control groups: none is mounted below /sys/fs/cgroup")
	}
	return found, nil
}

// isV2 says whether controllers are in the unified hierarchy.
func (c cgroups) isV2() bool { return len(c.v1) == 0 }

func podGroup(podUID string) string { return "pod" + podUID }

// path is a group's name as runc is told it.
func (c cgroups) path(group string) string { return filepath.Join(c.parent, group) }

// openConmonGroup opens the group of all conmons, in which they are started: not in the agent's, which may be killed as a whole. A nil
// file: no unified hierarchy, see moveToConmonGroup.
func (c cgroups) openConmonGroup() (*os.File, error) {
	if c.v2 == "" {
		return nil, nil
	}
	folder := filepath.Join(c.v2, c.path("conmon"))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	file, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	return file, nil
}

// moveToConmonGroup is for machines with v1 only.
func (c cgroups) moveToConmonGroup(pid int) error {
	for _, mount := range c.folders {
		folder := filepath.Join(mount, c.path("conmon"))
		if strings.HasSuffix(mount, "/cpuset") {
			continue // a new group takes no process before it has processors
		}
		err := os.MkdirAll(folder, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		}
		if err != nil {
			return fmt.Errorf("move conmon to control group: %w", err)
		}
	}
	return nil
}

// kill ends all processes of the group and of those below it.
func (c cgroups) kill(group string) error {
	return filepath.WalkDir(filepath.Join(c.folders[0], c.path(group)), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return fmt.Errorf("list processes of control group: %w", err)
		}
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			if err == nil {
				err = unix.Kill(pid, unix.SIGKILL)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end process %s of control group: %w", field, err)
			}
		}
		return nil
	})
}

// remove deletes the group and the ones below it in all hierarchies; missing is no error.
func (c cgroups) remove(group string) error {
	var failures []error
	for _, mount := range c.folders {
		if err := removeGroup(filepath.Join(mount, c.path(group))); err != nil {
			failures = append(failures, fmt.Errorf("remove control group: %w", err))
		}
	}
	return errors.Join(failures...)
}

// removeGroup waits a while for processes that have ended but are still counted: the kernel takes one out of its group only after its
// parent has been told, and v1 tells nobody when.
func removeGroup(folder string) error {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		err := removeGroupNow(folder)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

func removeGroupNow(folder string) error {
	err := unix.Rmdir(folder)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeGroupNow(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(folder); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "rmdir", Path: folder, Err: err}
	}
	return nil
}

// oomKilled says whether the kernel has ended a process of the group for want of memory.
func (c cgroups) oomKilled(group string) bool {
	path := filepath.Join(c.v2, c.path(group), "memory.events")
	if memory, ok := c.v1["memory"]; ok {
		path = filepath.Join(memory, c.path(group), "memory.oom_control")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false // the group has gone with a reboot
	}
	for _, line := range strings.Split(string(data), "\n") {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count) != "0"
		}
	}
	return false
}

// limitsSwap says whether swap can be limited together with memory. In v2 the node's group tells it, once the groups above have handed
// the memory controller down to it: runc sees to that too, but only with the node's first container.
func (c cgroups) limitsSwap() (bool, error) {
	path := filepath.Join(c.v2, c.parent, "memory.swap.max")
	if memory, ok := c.v1["memory"]; ok {
		path = filepath.Join(memory, "memory.memsw.limit_in_bytes")
	} else if err := c.handDownMemory(); err != nil {
		return false, err
	}
	_, err := os.Stat(path)
	return err == nil, nil
}

// handDownMemory makes the node's group, with the memory controller, in the unified hierarchy.
func (c cgroups) handDownMemory() error {
	if err := os.MkdirAll(filepath.Join(c.v2, c.parent), 0o755); err != nil {
		return fmt.Errorf("make control group: %w", err)
	}
	folder := c.v2
	for _, name := range strings.Split(strings.Trim(c.parent, "/"), "/") {
		if err := os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
			return fmt.Errorf("hand the memory controller down to control group %s: %w", c.parent, err)
		}
		folder = filepath.Join(folder, name)
	}
	return nil
}
