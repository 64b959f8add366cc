package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netnstest"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	netnstest.RequireRoot(t) // owners, devices and trusted attributes are root's
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// archive makes a tar archive of the entries.
func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, entry := range entries {
		content := []byte(nil)
		if entry.Typeflag == tar.TypeReg {
			content = []byte("content of " + entry.Name)
			entry.Size = int64(len(content))
		}
		if entry.Mode == 0 {
			entry.Mode = 0o644
		}
		if err := writer.WriteHeader(&entry); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func file(path string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: path} }

// image makes an image with a layer per archive.
func image(t *testing.T, archives ...[]byte) v1.Image {
	t.Helper()
	made := empty.Image
	for _, data := range archives {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if made, err = mutate.AppendLayers(made, layer); err != nil {
			t.Fatal(err)
		}
	}
	made, err := mutate.Config(made, v1.Config{Cmd: []string{"/bin/sh"}, Env: []string{"A=b"}})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAddAndGet(t *testing.T) {
	store := newStore(t)
	added, err := store.Add(context.Background(), image(t, archive(t, file("etc/base")), archive(t, file("etc/top"))), "busybox")
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"busybox", "busybox:latest", "docker.io/library/busybox", "busybox@" + added.Digest} {
		got, err := store.Get(reference)
		if err != nil {
			t.Fatalf("%s: %v", reference, err)
		}
		if got.ID != added.ID || !slices.Equal(got.Names, []string{"docker.io/library/busybox:latest"}) || got.Config.Config.Cmd[0] != "/bin/sh" {
			t.Errorf("%s: got %+v", reference, got)
		}
	}
	if data, err := os.ReadFile(filepath.Join(added.LayerDirs[0], "etc/top")); err != nil || string(data) != "content of etc/top" {
		t.Errorf("the topmost layer is not first: %q, %v", data, err)
	}
	if _, err := store.Get("busybox:1.36"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another tag: got %v", err)
	}
	var invalid *ErrInvalidName
	if _, err := store.Get("Busybox:"); !errors.As(err, &invalid) {
		t.Errorf("a bad name: got %v", err)
	}
}

func TestUnpackLayer(t *testing.T) {
	netnstest.RequireRoot(t)
	dir := t.TempDir()
	then := time.Unix(1_000_000_000, 0)
	data := archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o1777, ModTime: then},
		tar.Header{Typeflag: tar.TypeReg, Name: "dir/tool", Mode: 0o4755, Uid: 7, Gid: 8},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"},
		tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "dir/tool"},
		tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3, Mode: 0o666},
		file("dir/.wh.gone"),
		file("opaque/.wh..wh..opq"),
		file("../../escape"),
		tar.Header{Typeflag: tar.TypeReg, Name: "deep/in/here", PAXRecords: map[string]string{"SCHILY.xattr.user.note": "x"}},
	)
	if err := unpackLayer(bytes.NewReader(data), dir); err != nil {
		t.Fatal(err)
	}
	stat := func(path string) unix.Stat_t {
		var s unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, path), &s); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return s
	}
	if s := stat("dir"); s.Mode != unix.S_IFDIR|0o1777 || s.Mtim.Sec != then.Unix() {
		t.Errorf("dir: mode %o, time %d", s.Mode, s.Mtim.Sec)
	}
	if s := stat("dir/tool"); s.Mode != unix.S_IFREG|0o4755 || s.Uid != 7 || s.Gid != 8 || s.Nlink != 2 {
		t.Errorf("dir/tool: mode %o, owner %d:%d, links %d", s.Mode, s.Uid, s.Gid, s.Nlink)
	}
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "/etc/passwd" {
		t.Errorf("link: %q, %v", target, err)
	}
	if s := stat("null"); s.Mode != unix.S_IFCHR|0o666 || s.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("null: mode %o, device %d", s.Mode, s.Rdev)
	}
	if s := stat("dir/gone"); s.Mode&unix.S_IFMT != unix.S_IFCHR || s.Rdev != 0 {
		t.Errorf("whiteout: mode %o, device %d", s.Mode, s.Rdev)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(filepath.Join(dir, "opaque"), opaqueAttribute, value); err != nil || string(value[:n]) != "y" {
		t.Errorf("opaque: %q, %v", value[:max(n, 0)], err)
	}
	if n, err := unix.Getxattr(filepath.Join(dir, "deep/in/here"), "user.note", value); err != nil || string(value[:n]) != "x" {
		t.Errorf("attribute: %q, %v", value[:max(n, 0)], err)
	}
	stat("escape") // stays below
}

func TestUnpackLayerDoesNotFollowLinksOut(t *testing.T) {
	netnstest.RequireRoot(t)
	outside := t.TempDir()
	data := archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, file("out/planted"))
	if err := unpackLayer(bytes.NewReader(data), t.TempDir()); err == nil {
		t.Error("a file through a link that leads out was unpacked")
	}
	if _, err := os.Stat(filepath.Join(outside, "planted")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was planted outside: %v", err)
	}
}

func TestLoadLayout(t *testing.T) {
	store := newStore(t)
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(image(t, archive(t, file("a"))), layout.WithAnnotations(map[string]string{nameAnnotations[0]: "docker.io/luksa/kubia:latest"})); err != nil {
		t.Fatal(err)
	}
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	if err := writer.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	loaded, err := store.Load(context.Background(), &buffer)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 1 || loaded[0].Names[0] != "docker.io/luksa/kubia:latest" {
		t.Errorf("got %+v", loaded)
	}
}

func TestLoadDockerArchive(t *testing.T) {
	store := newStore(t)
	tag, err := name.NewTag("nginx:1.27")
	if err != nil {
		t.Fatal(err)
	}
	var buffer bytes.Buffer
	if err := tarball.Write(tag, image(t, archive(t, file("a"))), &buffer); err != nil {
		t.Fatal(err)
	}
	loaded, err := store.Load(context.Background(), &buffer)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 1 || loaded[0].Names[0] != "docker.io/library/nginx:1.27" {
		t.Errorf("got %+v", loaded)
	}
}

func TestLoadOtherFiles(t *testing.T) {
	store := newStore(t)
	for what, data := range map[string][]byte{"text": []byte("hello, this is no archive"), "another archive": archive(t, file("a"))} {
		if _, err := store.Load(context.Background(), bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), "the file is no image archive") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestDamagedLayerIsRefused(t *testing.T) {
	store := newStore(t)
	layer := &wrongLayer{&fileLayer{}}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	made, err := newFileLayer(program, 1, "program")
	if err != nil {
		t.Fatal(err)
	}
	layer.fileLayer = made
	if err := store.addLayer(context.Background(), layer); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(store.dir, "layers")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// wrongLayer claims another digest than its content has.
type wrongLayer struct{ *fileLayer }

func (wrongLayer) DiffID() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}, nil
}

func TestRemove(t *testing.T) {
	store := newStore(t)
	base := archive(t, file("base"))
	shared, err := store.Add(context.Background(), image(t, base), "one", "uno")
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.Add(context.Background(), image(t, base, archive(t, file("top"))), "two")
	if err != nil {
		t.Fatal(err)
	}
	unused := func(string) bool { return false }
	if _, err := store.Remove("one", unused); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get("uno"); err != nil {
		t.Errorf("its other name went too: %v", err)
	}
	if _, err := store.Remove(shared.ID[7:19], unused); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get("two"); err != nil {
		t.Errorf("an image with a shared layer: %v", err)
	}
	running := func(dir string) bool { return dir == other.LayerDirs[0] }
	if _, err := store.Remove("two", running); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other.LayerDirs[0]); err != nil {
		t.Errorf("a layer in use went: %v", err)
	}
	if _, err := os.Stat(other.LayerDirs[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unused layer stayed: %v", err)
	}
	if _, err := store.Remove("two", unused); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestPull(t *testing.T) {
	store := newStore(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reference := strings.TrimPrefix(server.URL, "http://") + "/team/app:v1"
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image(t, archive(t, file("app")))); err != nil {
		t.Fatal(err)
	}
	pulled, err := store.Pull(context.Background(), reference, PullOptions{NetNS: "/proc/self/ns/net"})
	if err != nil {
		t.Fatal(err)
	}
	if pulled.Names[0] != reference {
		t.Errorf("got %v", pulled.Names)
	}
	if _, err := store.Pull(context.Background(), reference+"-none", PullOptions{}); err == nil || !strings.Contains(err.Error(), "MANIFEST_UNKNOWN") {
		t.Errorf("an unknown tag: got %v", err)
	}
}

// keychain is the credentials of every registry.
type keychain struct{ authn.Authenticator }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) { return k, nil }

func TestPullFromPrivateRegistry(t *testing.T) {
	store, open := newStore(t), registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	defer server.Close()
	reference, right := strings.TrimPrefix(server.URL, "http://")+"/app:v1", &authn.Basic{Username: "ann", Password: "secret"}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image(t, archive(t, file("app"))), remote.WithAuth(right)); err != nil {
		t.Fatal(err)
	}
	for _, options := range []PullOptions{{}, {Keychain: keychain{&authn.Basic{Username: "ann", Password: "wrong"}}}} {
		if _, err := store.Pull(context.Background(), reference, options); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
			t.Errorf("%+v: %v", options, err)
		}
	}
	if _, err := store.Pull(context.Background(), reference, PullOptions{Keychain: keychain{right}}); err != nil {
		t.Error(err)
	}
}

func TestAddBinary(t *testing.T) {
	store := newStore(t)
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("first"), 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := store.AddBinary(context.Background(), "kubelite/kubelite:1", program, "kubelite")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(first.LayerDirs[0], "kubelite")); err != nil || string(data) != "first" {
		t.Errorf("got %q, %v", data, err)
	}
	if err := os.WriteFile(program, []byte("second"), 0o755); err != nil {
		t.Fatal(err)
	}
	second, err := store.AddBinary(context.Background(), "kubelite/kubelite:1", program, "kubelite")
	if err != nil {
		t.Fatal(err)
	}
	if second.ID == first.ID {
		t.Error("a changed program gave the same image")
	}
	again, err := store.AddBinary(context.Background(), "kubelite/kubelite:1", program, "kubelite")
	if err != nil || again.ID != second.ID {
		t.Errorf("got %v, %v", again, err)
	}
}

func TestPrune(t *testing.T) {
	store := newStore(t)
	old, err := store.Add(context.Background(), image(t, archive(t, file("old"))), "app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add(context.Background(), image(t, archive(t, file("new"))), "app"); err != nil {
		t.Fatal(err)
	}
	unused := func(string) bool { return false }
	release, err := store.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prune(unused); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old.LayerDirs[0]); err != nil {
		t.Errorf("a held layer went: %v", err)
	}
	release()
	if err := store.Prune(unused); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old.LayerDirs[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the layer of the image that had the name before stayed: %v", err)
	}
}
