package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/cli/lab"
)

// endTimeout bounds how long killed processes may take to go: the kernel needs it where one is in an uninterruptible call.
const endTimeout = 10 * time.Second

// Down ends every process of the cluster and removes its namespaces, links, mounts, rules and control groups. It works on what
// it finds, whatever state the cluster is in. The durable state stays. ErrNotFound if there is no trace of the cluster.
func Down(name string) error {
	return exclusively(name, down)
}

// exclusively runs f while nobody else works on the cluster. ErrNotFound if there is no trace of it.
func exclusively(name string, f func(name string) error) error {
	if err := lab.CheckName(name); err != nil {
		return err
	}
	there, err := exists(name)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("cluster %q: %w on this machine", name, ErrNotFound)
	}
	unlock, err := lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	return f(name)
}

// exists says whether there is any trace of the cluster: its folders, or its namespaces.
func exists(name string) (bool, error) {
	c := &Cluster{Config{Network: lab.DefaultNetwork(name, 1)}}
	for _, path := range []string{c.Dir(), c.RunDir()} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
	}
	namespaces, err := lab.Namespaces(name)
	return len(namespaces) > 0, err
}

func down(name string) error {
	network := lab.DefaultNetwork(name, 1)
	if c, err := Load(name); err == nil {
		network = c.Network
	}
	c := &Cluster{Config{Network: network}}
	if err := c.endProcesses(); err != nil {
		return fmt.Errorf("take cluster %q down: %w", name, err)
	}
	mounted := errors.Join(unmountBelow(c.Dir()), unmountBelow(c.RunDir()))
	failures := []error{mounted, network.Remove(), c.removeCgroups()}
	if mounted == nil { // else the files of what is mounted would be removed
		failures = append(failures, os.RemoveAll(c.RunDir()))
		if err := os.Remove(RunRoot); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("take cluster %q down: %w", name, err)
	}
	return nil
}

// Purge takes the cluster down and removes its durable state. ErrNotFound if there is no trace of it.
func Purge(name string) error {
	return exclusively(name, func(name string) error {
		if err := down(name); err != nil {
			return err
		}
		if err := os.RemoveAll(dir(name)); err != nil {
			return fmt.Errorf("purge cluster %q: %w", name, err)
		}
		return nil
	})
}

// endProcesses kills the server and the agents first, so that nothing is started any more, and then whatever is left in the
// cluster's namespaces and control groups: containers, their monitors, shells on the laptop.
func (c *Cluster) endProcesses() error {
	var components []int
	pidFiles, err := filepath.Glob(c.RunDir("*.pid"))
	if err != nil {
		return err
	}
	for _, file := range pidFiles {
		if pid := c.process(strings.TrimSuffix(filepath.Base(file), ".pid")).pid(); pid != 0 {
			components = append(components, pid)
		}
	}
	// A server whose `up` was killed before it could write the pid file is in no namespace or control group of the cluster.
	servers, err := startedWith(c.serverArguments()[:4])
	if err != nil {
		return err
	}
	if err := kill(append(components, servers...), endTimeout); err != nil {
		return err
	}
	for { // until a look finds nobody: a process may have been forking while it was killed
		left, err := lab.Inhabitants(c.Name())
		if err != nil {
			return err
		}
		grouped, err := c.cgroupProcesses()
		if err != nil {
			return err
		}
		left = append(left, grouped...)
		slices.Sort(left)
		left = slices.Compact(left)
		left = slices.DeleteFunc(left, func(pid int) bool { return pid == os.Getpid() })
		if len(left) == 0 {
			return nil
		}
		if err := kill(left, endTimeout); err != nil {
			return err
		}
	}
}

// ended says whether the pid is gone, or a zombie that only its parent can remove.
func ended(pid int) bool {
	_, err := startTime(pid)
	return err != nil
}

// unmountBelow unmounts everything below the directory, the latest mount first.
func unmountBelow(directory string) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer file.Close()
	points, err := mountPointsBelow(file, directory)
	if err != nil {
		return err
	}
	var failures []error
	for _, point := range points {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			failures = append(failures, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(failures...)
}

// mountPointsBelow reads /proc/PID/mountinfo and lists the mount points below the directory, the latest first.
func mountPointsBelow(mountinfo io.Reader, directory string) ([]string, error) {
	var points []string
	scanner := bufio.NewScanner(mountinfo)
	scanner.Buffer(nil, 1<<20) // an overlay's line lists all its layers
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], directory+"/") {
			points = append(points, unescapeMountPoint(fields[4]))
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	slices.Reverse(points)
	return points, nil
}

// unescapeMountPoint undoes the octal escapes that proc(5) has for white space and backslashes.
var unescapeMountPoint = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
