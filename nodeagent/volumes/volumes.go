package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubelite/kubelite/nodeagent/environment"
)

// Config is what volumes are made with; all fields but Now are needed.
type Config struct {
	Client  kubernetes.Interface // for tokens
	Objects environment.Sources
	Dir     string           // survives a reboot: Dir/POD UID/volumes/NAME
	RunDir  string           // on a tmpfs, for content that is not to reach a disk: RunDir/POD UID/NAME
	Now     func() time.Time // nil: time.Now
}

// Volumes makes Pods' volumes. Calls for one Pod are to be made one at a time.
type Volumes struct {
	Config
	mutex  sync.Mutex
	tokens map[tokenKey]token
}

// New returns volumes below config's folders, which are made as they are needed.
func New(config Config) *Volumes {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Volumes{Config: config, tokens: map[tokenKey]token{}}
}

// SetUp makes all of the Pod's volumes, or brings their content up to date. refresh is when a token is to be renewed by calling it again,
// zero if there is none. Errors read as the kubelet's FailedMount events do; they name the first volume that cannot be made.
func (v *Volumes) SetUp(ctx context.Context, pod *v1.Pod, facts environment.Facts) (refresh time.Time, err error) {
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		renew, err := v.setUp(ctx, pod, volume, facts)
		if err != nil {
			return time.Time{}, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err)
		}
		if !renew.IsZero() && (refresh.IsZero() || renew.Before(refresh)) {
			refresh = renew
		}
	}
	return refresh, nil
}

func (v *Volumes) setUp(ctx context.Context, pod *v1.Pod, volume *v1.Volume, facts environment.Facts) (refresh time.Time, err error) {
	sources, mode, ofFiles, err := sourcesOf(volume)
	if err != nil {
		return time.Time{}, err
	}
	group := -1
	if security := pod.Spec.SecurityContext; security != nil && security.FSGroup != nil {
		group = int(*security.FSGroup)
	}
	path := v.path(pod.UID, volume)
	switch {
	case ofFiles:
		content, refresh, err := v.payload(ctx, pod, volume, sources, mode, facts)
		if err != nil {
			return time.Time{}, err
		}
		if group >= 0 {
			for name, file := range content {
				file.mode |= 0o440
				content[name] = file
			}
		}
		return refresh, write(path, content, group)
	case volume.EmptyDir != nil:
		return time.Time{}, makeEmptyDir(path, volume.EmptyDir, group)
	case volume.HostPath != nil:
		return time.Time{}, makeHostPath(volume.HostPath)
	}
	return time.Time{}, errors.New("kubelite has no volumes of this kind; it has emptyDir, hostPath, configMap, secret, downwardAPI and projected ones")
}

// path is where the volume's content lies on the machine.
func (v *Volumes) path(uid types.UID, volume *v1.Volume) string {
	switch {
	case volume.HostPath != nil:
		return volume.HostPath.Path
	case volume.EmptyDir != nil:
		return filepath.Join(v.Dir, string(uid), "volumes", volume.Name)
	}
	return filepath.Join(v.RunDir, string(uid), volume.Name)
}

func makeEmptyDir(path string, source *v1.EmptyDirVolumeSource, group int) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if source.Medium == v1.StorageMediumMemory {
		mounted, err := mountsBelow(path)
		if err != nil {
			return err
		}
		if len(mounted) == 0 {
			options := "mode=0777"
			if source.SizeLimit != nil && source.SizeLimit.Value() > 0 {
				options += ",size=" + strconv.FormatInt(source.SizeLimit.Value(), 10)
			}
			if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
				return fmt.Errorf("mount tmpfs: %w", err)
			}
		}
	}
	mode := os.FileMode(0o777)
	if group >= 0 {
		if err := os.Chown(path, -1, group); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(path, mode)
}

// TearDown unmounts and removes all volumes of a Pod. Missing is no error. Nothing is removed while something is still mounted.
func (v *Volumes) TearDown(podUID string) error {
	v.forgetTokens(types.UID(podUID))
	var failures []error
	for _, folder := range []string{filepath.Join(v.Dir, podUID, "volumes"), filepath.Join(v.Dir, podUID, "subpaths"), filepath.Join(v.RunDir, podUID)} {
		failures = append(failures, removeFolder(folder))
	}
	return errors.Join(failures...)
}

func removeFolder(folder string) error {
	mounted, err := mountsBelow(folder)
	if err != nil {
		return err
	}
	for i := len(mounted) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounted[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", mounted[i], err)
		}
	}
	return os.RemoveAll(folder)
}

// List tells which Pods, by UID, have something on the machine.
func (v *Volumes) List() ([]string, error) {
	var uids []string
	for _, folder := range []string{v.Dir, v.RunDir} {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list pods' volumes: %w", err)
		}
		for _, entry := range entries {
			uids = append(uids, entry.Name())
		}
	}
	return uids, nil
}
