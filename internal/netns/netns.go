// Package netns runs functions, opens sockets and starts processes in another network namespace.
//
// A namespace is named by a path: /run/netns/NAME for one made by New, /proc/PID/ns/net, /proc/self/fd/N. An empty path
// is the caller's own namespace. Callers never lock threads themselves.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dir is where named namespaces are kept: iproute2's folder, so that `ip netns` lists them.
const Dir = "/run/netns"

// Path is the path of a namespace made by New.
func Path(name string) string { return filepath.Join(Dir, name) }

// Do runs f on a thread that is in the namespace at path. Goroutines that f starts are not in it; sockets that f opens are.
// The thread is thrown away if it cannot be brought back.
func Do(path string, f func() error) error {
	if path == "" {
		return f()
	}
	result := make(chan error, 1)
	go func() { result <- onThread(path, f) }()
	return <-result
}

func onThread(path string, f func() error) error {
	runtime.LockOSThread() // unlocked only after the way back: a goroutine that ends locked takes its thread with it
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer own.Close()
	target, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer target.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	failure := f()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return errors.Join(failure, fmt.Errorf("leave network namespace %s: %w", path, err))
	}
	runtime.UnlockOSThread()
	return failure
}

// New makes the network namespace name, with its loopback down, and returns its path. It is an error if it exists.
func New(name string) (string, error) {
	path := Path(name)
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return "", fmt.Errorf("make network namespace %s: %w", name, err)
	}
	file.Close()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays in the new namespace and ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
	}()
	if err := <-result; err != nil {
		os.Remove(path)
		return "", fmt.Errorf("make network namespace %s: %w", name, err)
	}
	return path, nil
}

// Delete removes the namespace name; one that does not exist is no error. Links in it go when its last process has gone.
func Delete(name string) error {
	path := Path(name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// Exists says whether the namespace name is there and mounted.
func Exists(name string) bool {
	var stat unix.Statfs_t
	const nsfsMagic = 0x6e736673
	return unix.Statfs(Path(name), &stat) == nil && stat.Type == nsfsMagic
}

// Listen is net.Listen in the namespace at path.
func Listen(path, network, address string) (listener net.Listener, err error) {
	err = Do(path, func() error {
		listener, err = net.Listen(network, address)
		return err
	})
	return listener, err
}

// ListenPacket is net.ListenPacket in the namespace at path.
func ListenPacket(path, network, address string) (conn net.PacketConn, err error) {
	err = Do(path, func() error {
		conn, err = net.ListenPacket(network, address)
		return err
	})
	return conn, err
}

// Dialer returns a DialContext that connects from within the namespace at path. Addresses must be numeric: names would be
// resolved by goroutines outside the namespace.
func Dialer(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = Do(path, func() error {
			dialer := net.Dialer{FallbackDelay: -1} // one address, one thread
			conn, err = dialer.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// Start starts cmd in the namespace at path.
func Start(path string, cmd *exec.Cmd) error { return Do(path, cmd.Start) }
