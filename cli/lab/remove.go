package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
)

// uid is the form of a Pod's UID at the end of its namespace's name.
var uid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

var nodeName = regexp.MustCompile(`^node-[0-9]+$`)

// Namespaces lists the names of all network namespaces that belong to the cluster: the lab's and its Pods'.
func Namespaces(cluster string) ([]string, error) {
	entries, err := os.ReadDir(netns.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, entry := range entries {
		place, ours := strings.CutPrefix(entry.Name(), cluster+"-")
		if !ours {
			continue
		}
		pod, isPod := strings.CutPrefix(place, "pod-")
		if place == "switch" || place == "laptop" || nodeName.MatchString(place) || isPod && uid.MatchString(pod) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// Remove deletes the uplink and every namespace of the cluster, and with them their links, addresses, routes and rules.
// Processes in them must have ended. Missing is no error.
func (n Network) Remove() error {
	failures := []error{n.DisconnectUplink()}
	names, err := Namespaces(n.Cluster)
	failures = append(failures, err)
	for _, name := range names {
		failures = append(failures, netns.Delete(name))
	}
	return errors.Join(failures...)
}

// Inhabitants lists the processes that are in the cluster's namespaces.
func Inhabitants(cluster string) ([]int, error) {
	names, err := Namespaces(cluster)
	if err != nil {
		return nil, err
	}
	inodes := map[uint64]bool{}
	for _, name := range names {
		var stat unix.Stat_t
		if err := unix.Stat(netns.Path(name), &stat); err == nil && netns.Exists(name) {
			inodes[stat.Ino] = true
		}
	}
	paths, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range paths {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil || !inodes[stat.Ino] {
			continue // the process has ended, or is elsewhere
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
