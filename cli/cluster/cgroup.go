package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the control group hierarchies are mounted: the unified one itself, or those of v1 below it.
const cgroupRoot = "/sys/fs/cgroup"

// openCgroup makes and opens a control group of the unified hierarchy. A nil file: the path is empty, or the machine has no such
// hierarchy.
func openCgroup(path string) (*os.File, error) {
	for _, root := range []string{cgroupRoot, filepath.Join(cgroupRoot, "unified")} {
		var at unix.Statfs_t
		if err := unix.Statfs(root, &at); path == "" || err != nil || at.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		group := filepath.Join(root, path)
		if err := os.MkdirAll(group, 0o755); err != nil {
			return nil, fmt.Errorf("make control group: %w", err)
		}
		return os.Open(group)
	}
	return nil, nil
}

// cgroups lists the cluster's control groups in every mounted hierarchy, deepest first.
func (c *Cluster) cgroups() ([]string, error) {
	roots, err := filepath.Glob(cgroupRoot + "/*" + c.CgroupParent())
	if err != nil {
		return nil, err
	}
	roots = append(roots, cgroupRoot+c.CgroupParent())
	var groups []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
	}
	slices.Reverse(groups)
	return groups, nil
}

func (c *Cluster) cgroupProcesses() ([]int, error) {
	groups, err := c.cgroups()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, group := range groups {
		data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("list the processes of a control group: %w", err)
		}
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			if err == nil && pid > 0 && !ended(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

func (c *Cluster) removeCgroups() error {
	groups, err := c.cgroups()
	if err != nil {
		return err
	}
	var failures []error
	for _, group := range groups {
		if err := removeCgroup(group); err != nil {
			failures = append(failures, fmt.Errorf("remove control group %s: %w", group, err))
		}
	}
	parents, err := filepath.Glob(cgroupRoot + "/*/kubelite")
	for _, parent := range append(parents, cgroupRoot+"/kubelite") {
		if err := unix.Rmdir(parent); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			failures = append(failures, fmt.Errorf("remove control group %s: %w", parent, err))
		}
	}
	return errors.Join(append(failures, err)...)
}

// removeCgroup waits a while for processes that have ended but are still counted. Missing is no error.
func removeCgroup(group string) error {
	for deadline := time.Now().Add(endTimeout); ; time.Sleep(time.Millisecond) {
		err := unix.Rmdir(group)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}
