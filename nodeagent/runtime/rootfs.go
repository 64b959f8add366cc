package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountRoot joins the layers, topmost first, with a writable one in folder (upper/, work/) at target.
func mountRoot(layers []string, folder, target string) error {
	if len(layers) == 0 {
		return errors.New("mount root filesystem: the image has no layers")
	}
	upper, work := filepath.Join(folder, "upper"), filepath.Join(folder, "work")
	for _, dir := range []string{upper, work, target} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("mount root filesystem: %w", err)
		}
	}
	options := "lowerdir=" + strings.Join(layers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if len(options) >= os.Getpagesize() || strings.ContainsAny(strings.Join(append(layers, folder), ""), `:,\`) {
		// as many layers as fit in a page of short names; the kernel resolves them once
		names := make([]string, 0, len(layers)+2)
		for _, path := range append(layers[:len(layers):len(layers)], upper, work) {
			fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("mount root filesystem: open layer %s: %w", path, err)
			}
			defer unix.Close(fd)
			names = append(names, "/proc/self/fd/"+strconv.Itoa(fd))
		}
		last := len(names) - 2
		options = "lowerdir=" + strings.Join(names[:last], ":") + ",upperdir=" + names[last] + ",workdir=" + names[last+1]
	}
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount root filesystem of %d layers: %w", len(layers), err)
	}
	return nil
}

// unmount takes the mount away, if there is one, even when it is in use.
func unmount(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "unmount", Path: path, Err: err}
}
