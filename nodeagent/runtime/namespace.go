package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
)

// podSysctls are what CRI-O and containerd set in every Pod: ping without privileges, and ports below 1024 as well. IPv6 is off on what
// is not there yet (eth0) and stays on the loopback, for ::1.
var podSysctls = map[string]string{
	"net.ipv4.ping_group_range":           "0 2147483647",
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv6.conf.default.disable_ipv6":  "1",
}

// pinNamespaces makes IPC and UTS namespaces that outlive this process, as bind mounts folder/ipc and folder/uts.
func pinNamespaces(folder, hostname string, sysctls map[string]string) error {
	result := make(chan error, 1)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread is in the new namespaces, and ends with the goroutine
		result <- pinOnThread(folder, hostname, sysctls)
	}()
	return <-result
}

func pinOnThread(folder, hostname string, sysctls map[string]string) error {
	if err := unix.Unshare(unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("make IPC and UTS namespaces: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("set hostname %q: %w", hostname, err)
	}
	for name, value := range sysctls {
		if !strings.HasPrefix(name, "net.") {
			if err := writeSysctl(name, value); err != nil {
				return err
			}
		}
	}
	for _, kind := range []string{"ipc", "uts"} {
		path := filepath.Join(folder, kind)
		if err := os.WriteFile(path, nil, 0o444); err != nil {
			return fmt.Errorf("pin namespace: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/"+kind, path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("pin %s namespace: %w", kind, err)
		}
	}
	return nil
}

// prepareNetwork is for a Pod's new network namespace: sysctls and the loopback.
func prepareNetwork(path string, sysctls map[string]string) error {
	return netns.Do(path, func() error {
		for name, value := range podSysctls {
			if err := writeSysctl(name, value); err != nil && !errors.Is(err, os.ErrNotExist) { // no IPv6 in the kernel
				return err
			}
		}
		for name, value := range sysctls {
			if strings.HasPrefix(name, "net.") {
				if err := writeSysctl(name, value); err != nil {
					return err
				}
			}
		}
		loopback, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(loopback)
		}
		if err != nil {
			return fmt.Errorf("set loopback up: %w", err)
		}
		return nil
	})
}

// writeSysctl sets a sysctl of the thread's namespaces. Both ways of writing a name are known, as to sysctl(8): a dot
// in an interface's name is a slash then.
func writeSysctl(name, value string) error {
	path := name
	if separator := strings.IndexAny(name, "./"); separator >= 0 && name[separator] == '.' {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	if strings.Contains(path, "..") {
		return fmt.Errorf("set sysctl %q: not a sysctl's name", name)
	}
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl %s to %q: %w", name, value, err)
	}
	return nil
}
