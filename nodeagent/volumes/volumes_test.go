package volumes

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/nodeagent/environment"
)

// objectSource is ConfigMaps and Secrets by name.
type objectSource struct {
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
}

func (s objectSource) ConfigMap(_ context.Context, _, name string) (*v1.ConfigMap, error) {
	if object := s.configMaps[name]; object != nil {
		return object, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmap"}, name)
}

func (s objectSource) Secret(_ context.Context, _, name string) (*v1.Secret, error) {
	if object := s.secrets[name]; object != nil {
		return object, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secret"}, name)
}

func newVolumes(t *testing.T) (*Volumes, objectSource, *time.Time) {
	objects := objectSource{
		map[string]*v1.ConfigMap{"settings": {Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"raw": {0, 1}}}},
		map[string]*v1.Secret{"password": {Data: map[string][]byte{"word": []byte("hush")}}},
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	client := fake.NewClientset()
	asked := 0
	client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		request := action.(clienttesting.CreateAction).GetObject().(*authentication.TokenRequest)
		if request.Spec.BoundObjectRef.UID != "uid" {
			t.Errorf("bound to %+v", request.Spec.BoundObjectRef)
		}
		return true, &authentication.TokenRequest{Status: authentication.TokenRequestStatus{
			Token: strings.Repeat("t", asked), ExpirationTimestamp: metav1.NewTime(now.Add(time.Hour))}}, nil
	})
	folder := t.TempDir()
	return New(Config{Client: client, Objects: objects, Dir: filepath.Join(folder, "pods"), RunDir: filepath.Join(folder, "run"), Now: func() time.Time { return now }}), objects, &now
}

func podWith(volumes ...v1.Volume) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "uid", Labels: map[string]string{"app": "x", "tier": "y"}},
		Spec: v1.PodSpec{ServiceAccountName: "robot", Volumes: volumes}}
}

// content reads the files that a container sees, through the links.
func content(t *testing.T, folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		if info, err := os.Stat(path); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			inner, _ := os.ReadDir(path)
			for _, file := range inner {
				text, _ := os.ReadFile(filepath.Join(path, file.Name()))
				found[entry.Name()+"/"+file.Name()] = string(text)
			}
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = string(text)
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		lines = append(lines, name+"="+found[name])
	}
	return strings.Join(lines, " ")
}

func TestContent(t *testing.T) {
	item := func(key, path string) []v1.KeyToPath {
		return []v1.KeyToPath{{Key: key, Path: path, Mode: ptr.To[int32](0o600)}}
	}
	local := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	for _, test := range []struct {
		name    string
		source  v1.VolumeSource
		want    string
		failure string
	}{
		{"configmap", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("settings")}}, "a=1 b=2 raw=\x00\x01", ""},
		{"items", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("settings"), Items: item("a", "deep/er")}}, "deep/er=1", ""},
		{"secret", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "password"}}, "word=hush", ""},
		{"optional", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "none", Optional: ptr.To(true)}}, "", ""},
		{"missing", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("none")}}, "", `MountVolume.SetUp failed for volume "v" : configmap "none" not found`},
		{"missing key", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("settings"), Items: item("z", "z")}}, "",
			`MountVolume.SetUp failed for volume "v" : references non-existent config key: z`},
		{"missing secret key", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "password", Items: item("z", "z")}}, "",
			`MountVolume.SetUp failed for volume "v" : references non-existent secret key: z`},
		{"a way out", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("settings"), Items: item("a", "x/../../../etc/passwd")}}, "",
			`MountVolume.SetUp failed for volume "v" : invalid path "x/../../../etc/passwd" in volume: must be relative, must not contain '..' and must not start with it`},
		{"downward", v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{
			{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}}, "labels=app=\"x\"\ntier=\"y\"", ""},
		{"projected", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](3607)}},
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("settings"), Items: item("a", "ca.crt")}},
			{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
		}}}, "ca.crt=1 namespace=n token=t", ""},
		{"claim", v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{}}, "",
			`MountVolume.SetUp failed for volume "v" : kubelite has no volumes of this kind; it has emptyDir, hostPath, configMap, secret, downwardAPI and projected ones`},
	} {
		t.Run(test.name, func(t *testing.T) {
			volumes, _, _ := newVolumes(t)
			pod := podWith(v1.Volume{Name: "v", VolumeSource: test.source})
			_, err := volumes.SetUp(t.Context(), pod, environment.Facts{})
			failure := ""
			if err != nil {
				failure = err.Error()
			}
			if failure != test.failure {
				t.Fatalf("got %q, want %q", failure, test.failure)
			}
			if err == nil {
				if got := content(t, volumes.path(pod.UID, &pod.Spec.Volumes[0])); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
			if err := volumes.TearDown("uid"); err != nil {
				t.Fatal(err)
			}
			if entries, _ := os.ReadDir(volumes.RunDir); len(entries) != 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func TestContentFollowsItsSource(t *testing.T) {
	volumes, objects, _ := newVolumes(t)
	pod := podWith(v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}}})
	folder := volumes.path(pod.UID, &pod.Spec.Volumes[0])
	setUp := func() (data string) {
		if _, err := volumes.SetUp(t.Context(), pod, environment.Facts{}); err != nil {
			t.Fatal(err)
		}
		data, err := os.Readlink(filepath.Join(folder, dataLink))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := setUp()
	if again := setUp(); again != first {
		t.Error("unchanged content was written again")
	}
	objects.configMaps["settings"] = &v1.ConfigMap{Data: map[string]string{"a": "new", "c": "3"}}
	if changed := setUp(); changed == first {
		t.Error("changed content was not written")
	}
	if got := content(t, folder); got != "a=new c=3" {
		t.Errorf("got %q", got)
	}
	entries, _ := os.ReadDir(folder)
	if len(entries) != 4 { // ..data, its folder, two names
		t.Errorf("left behind: %v", entries)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	volumes, _, now := newVolumes(t)
	pod := podWith(v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}}}}}})
	folder := volumes.path(pod.UID, &pod.Spec.Volumes[0])
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "token=t"}, {40 * time.Minute, "token=t"}, {10 * time.Minute, "token=tt"}} {
		*now = now.Add(step.after)
		refresh, err := volumes.SetUp(t.Context(), pod, environment.Facts{})
		if err != nil || refresh.IsZero() {
			t.Fatal(refresh, err)
		}
		if got := content(t, folder); got != step.want {
			t.Errorf("after %v: got %q, want %q", step.after, got, step.want)
		}
	}
}

func TestEmptyDirAndMounts(t *testing.T) {
	volumes, _, _ := newVolumes(t)
	host := t.TempDir()
	pod := podWith(
		v1.Volume{Name: "scratch", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		v1.Volume{Name: "host", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: filepath.Join(host, "made"), Type: ptr.To(v1.HostPathDirectoryOrCreate)}}},
		v1.Volume{Name: "config", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}}},
	)
	if _, err := volumes.SetUp(t.Context(), pod, environment.Facts{}); err != nil {
		t.Fatal(err)
	}
	container := &v1.Container{Name: "c", VolumeMounts: []v1.VolumeMount{
		{Name: "scratch", MountPath: "/scratch"}, {Name: "host", MountPath: "/host", ReadOnly: true}, {Name: "config", MountPath: "/config"}}}
	mounts, err := volumes.Mounts(pod, container, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, mount := range mounts {
		lines = append(lines, mount.Destination+" "+strings.Join(mount.Options, ","))
	}
	if got := strings.Join(lines, "; "); got != "/scratch rbind,rprivate,rw; /host rbind,rprivate,ro; /config rbind,rprivate,ro" {
		t.Errorf("got %s", got)
	}
	if info, err := os.Stat(mounts[0].Source); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("emptyDir %v %v", info, err)
	}
	if _, err := volumes.Mounts(pod, &v1.Container{Name: "c", VolumeMounts: []v1.VolumeMount{{Name: "scratch", SubPath: "../..", MountPath: "/x"}}}, nil); err == nil {
		t.Error("a sub-path led out")
	}
	if err := volumes.TearDown("uid"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(host, "made")); err != nil {
		t.Error("a hostPath was removed with the Pod")
	}
}

func TestHostPathTypes(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path string
		kind v1.HostPathType
		want string
	}{
		{folder, v1.HostPathDirectory, ""}, {file, v1.HostPathFile, ""}, {file, v1.HostPathUnset, ""},
		{file, v1.HostPathDirectory, "hostPath type check failed: " + file + " is not a directory"},
		{folder, v1.HostPathFile, "hostPath type check failed: " + folder + " is not a file"},
		{file + "x", v1.HostPathFile, "hostPath type check failed: " + file + "x is not a file"},
		{file + "y", v1.HostPathFileOrCreate, ""}, {"/dev/null", v1.HostPathCharDev, ""},
		{file, v1.HostPathSocket, "hostPath type check failed: " + file + " is not a socket file"},
	} {
		got := ""
		if err := makeHostPath(&v1.HostPathVolumeSource{Path: test.path, Type: &test.kind}); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s as %q: got %q, want %q", test.path, test.kind, got, test.want)
		}
	}
}
