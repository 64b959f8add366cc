package volumes

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/environment"
)

// needRoot skips a test that mounts, or fails it where root is expected.
func needRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("KUBELITE_REQUIRE_ROOT") == "1" {
		t.Fatal("root is required to mount")
	}
	t.Skip("root is required to mount")
}

func TestNetnsMemoryEmptyDirAndSubPath(t *testing.T) {
	needRoot(t)
	volumes, _, _ := newVolumes(t)
	pod := podWith(v1.Volume{Name: "memory", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}}})
	t.Cleanup(func() {
		if err := volumes.TearDown("uid"); err != nil {
			t.Error(err)
		}
		if left, err := mountsBelow(volumes.Dir); err != nil || len(left) != 0 {
			t.Errorf("left mounted: %v %v", left, err)
		}
	})
	for range 2 { // the second time finds it mounted
		if _, err := volumes.SetUp(t.Context(), pod, environment.Facts{}); err != nil {
			t.Fatal(err)
		}
	}
	folder := volumes.path(pod.UID, &pod.Spec.Volumes[0])
	if mounted, err := mountsBelow(folder); err != nil || len(mounted) != 1 {
		t.Fatalf("mounted %v, %v", mounted, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("inside"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(folder, "out")); err != nil {
		t.Fatal(err)
	}
	mount := func(path string) (string, error) {
		mounts, err := volumes.Mounts(pod, &v1.Container{Name: "c", VolumeMounts: []v1.VolumeMount{{Name: "memory", SubPath: path, MountPath: "/x"}}}, nil)
		if err != nil {
			return "", err
		}
		return mounts[0].Source, nil
	}
	for range 2 { // a restarted container mounts it anew
		source, err := mount("file")
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(source); err != nil || string(text) != "inside" {
			t.Errorf("got %q, %v", text, err)
		}
	}
	if source, err := mount("new/folder"); err != nil {
		t.Error(err)
	} else if info, err := os.Stat(source); err != nil || !info.IsDir() {
		t.Errorf("made %v, %v", info, err)
	}
	if source, err := mount("out/passwd"); err == nil {
		t.Errorf("a symbolic link led out: %s", source)
	}
}
