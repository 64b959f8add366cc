package volumes

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/environment"
)

// Mounts are those of the container's volumes, after SetUp.
func (v *Volumes) Mounts(pod *v1.Pod, container *v1.Container, variables []v1.EnvVar) ([]specs.Mount, error) {
	var mounts []specs.Mount
	for i := range container.VolumeMounts {
		asked := &container.VolumeMounts[i]
		volume := findVolume(pod, asked.Name)
		if volume == nil {
			return nil, fmt.Errorf("cannot find volume %q to mount into container %q", asked.Name, container.Name)
		}
		source := v.path(pod.UID, volume)
		inside, err := subPath(asked, variables)
		if err != nil {
			return nil, err
		}
		if inside != "" {
			bound := filepath.Join(v.Dir, string(pod.UID), "subpaths", volume.Name, container.Name, strconv.Itoa(i))
			if err := bindInside(source, inside, bound); err != nil {
				return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", asked.Name, container.Name, err)
			}
			source = bound
		}
		_, _, ofFiles, err := sourcesOf(volume)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, specs.Mount{
			Destination: absolute(asked.MountPath), Type: "bind", Source: source,
			Options: mountOptions(asked, asked.ReadOnly || ofFiles),
		})
	}
	return mounts, nil
}

func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return "/" + path
}

func mountOptions(asked *v1.VolumeMount, readOnly bool) []string {
	propagation := "rprivate"
	if asked.MountPropagation != nil {
		switch *asked.MountPropagation {
		case v1.MountPropagationHostToContainer:
			propagation = "rslave"
		case v1.MountPropagationBidirectional:
			propagation = "rshared"
		}
	}
	if readOnly {
		return []string{"rbind", propagation, "ro"}
	}
	return []string{"rbind", propagation, "rw"}
}

func findVolume(pod *v1.Pod, name string) *v1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

// subPath is the path inside the volume that is asked for, empty for the whole volume. An unknown variable in a subPathExpr is an error.
func subPath(asked *v1.VolumeMount, variables []v1.EnvVar) (string, error) {
	path := asked.SubPath
	if asked.SubPathExpr != "" {
		missing := ""
		path = environment.Expand(asked.SubPathExpr, func(name string) (string, bool) {
			for i := len(variables) - 1; i >= 0; i-- {
				if variables[i].Name == name {
					return variables[i].Value, true
				}
			}
			missing = name
			return "", false
		})
		if missing != "" {
			return "", fmt.Errorf("missing value for %q", missing)
		}
	}
	if path != "" && !filepath.IsLocal(path) {
		return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", path)
	}
	return path, nil
}

// bindInside mounts the file or folder at inside of the volume to target. The container may change the volume at any time, and so make
// symbolic links in it that lead out: hence the path is resolved within the volume only, and what was found is mounted by its
// descriptor, never by its name. A missing path is made as a folder.
func bindInside(volume, inside, target string) error {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat(inside); errors.Is(err, os.ErrNotExist) {
		err = root.MkdirAll(inside, 0o755)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	opened, err := openBeneath(volume, inside)
	if err != nil {
		return err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	mounted, err := mountsBelow(target)
	if err != nil {
		return err
	}
	for i := len(mounted) - 1; i >= 0; i-- { // of an earlier run of the container
		if err := unix.Unmount(mounted[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", mounted[i], err)
		}
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", opened.Fd()), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	return nil
}

// openBeneath opens a path for mounting, by a resolution that the kernel keeps within folder (openat2, RESOLVE_BENEATH).
func openBeneath(folder, path string) (*os.File, error) {
	root, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", folder, err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", path, folder, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// mountsBelow lists what is mounted at folder or below, in the order in which it was mounted.
func mountsBelow(folder string) ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer file.Close()
	var found []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20) // an overlay's options are long
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		if point == folder || strings.HasPrefix(point, folder+"/") {
			found = append(found, point)
		}
	}
	return found, lines.Err()
}
