package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// ErrNotFound is returned by Get and Remove when no image has the name.
var ErrNotFound = errors.New("image not found")

// Store is an image store in a directory. Its methods may be called concurrently, from several processes too.
type Store struct{ dir string }

// Image is one image of the store.
type Image struct {
	// ID is the configuration's digest, sha256:HEX.
	ID string
	// Names are the normalized names that stand for it, sorted; none if it is referred to by digest only.
	Names []string
	// Digest is the manifest's, sha256:HEX.
	Digest string
	// Size is the sum of its layers' archives in bytes.
	Size   int64
	Config v1.ConfigFile
	// LayerDirs are the unpacked layers, topmost first, as overlayfs lists lower directories.
	LayerDirs []string
	// Annotations are the manifest's.
	Annotations map[string]string
}

// Open opens the store in a directory and makes it if it is missing. Only root may look into it: the set-user-ID programs of
// images must not be there for the machine's other users to run.
func Open(dir string) (*Store, error) {
	for _, sub := range []string{"names", "blobs/sha256", "layers"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open image store: %w", err)
		}
	}
	return &Store{dir}, nil
}

// lock holds the store's lock, shared (unix.LOCK_SH) or exclusive (unix.LOCK_EX), until the returned function is called.
func (s *Store) lock(how int) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	return func() { file.Close() }, nil
}

// Get finds the image that a reference stands for, by tag or by digest. ErrNotFound if there is none, *ErrInvalidName if it
// is no reference.
func (s *Store) Get(reference string) (*Image, error) {
	parsed, err := parse(reference)
	if err != nil {
		return nil, err
	}
	if digest, ok := parsed.(name.Digest); ok {
		return s.load(digest.DigestStr(), reference)
	}
	data, err := os.ReadFile(filepath.Join(s.dir, "names", nameFile(spell(parsed.Name()))))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image %q: %w", reference, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get image %q: %w", reference, err)
	}
	return s.load(string(data), reference)
}

// load reads the image with the manifest's digest. reference is for the error text.
func (s *Store) load(digest, reference string) (*Image, error) {
	manifest, err := s.manifest(digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image %q: %w", reference, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get image %q: %w", reference, err)
	}
	image := &Image{ID: manifest.Config.Digest.String(), Digest: digest, Annotations: manifest.Annotations}
	data, err := os.ReadFile(s.blob(image.ID))
	if err != nil {
		return nil, fmt.Errorf("get image %q: %w", reference, err)
	}
	if err := json.Unmarshal(data, &image.Config); err != nil {
		return nil, fmt.Errorf("get image %q: configuration %s is damaged: %w: load the image again", reference, image.ID, err)
	}
	for _, layer := range manifest.Layers {
		image.Size += layer.Size
	}
	for _, diffID := range slices.Backward(image.Config.RootFS.DiffIDs) {
		layer := s.layer(diffID)
		if _, err := os.Stat(layer); err != nil {
			return nil, fmt.Errorf("get image %q: layer %s is missing: %w: load the image again", reference, diffID, err)
		}
		image.LayerDirs = append(image.LayerDirs, layer)
	}
	names, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("get image %q: %w", reference, err)
	}
	image.Names = names[digest]
	return image, nil
}

// names maps manifests' digests to their sorted names.
func (s *Store) names() (map[string][]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "names"))
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue // being written
		}
		digest, err := os.ReadFile(filepath.Join(s.dir, "names", entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed while we look
		}
		if err != nil {
			return nil, err
		}
		full, err := fileName(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("image store has a foreign file names/%s: %w", entry.Name(), err)
		}
		names[string(digest)] = append(names[string(digest)], full)
	}
	return names, nil
}

// List lists all images, sorted by name.
func (s *Store) List() ([]*Image, error) {
	names, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var images []*Image
	for digest, names := range names {
		image, err := s.load(digest, names[0])
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	slices.SortFunc(images, func(a, b *Image) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return images, nil
}

// Add unpacks an image and lets the names stand for it. Layers that are there already are not read.
func (s *Store) Add(ctx context.Context, image v1.Image, names ...string) (*Image, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	normalized := make([]string, len(names))
	for i, reference := range names {
		if normalized[i], err = Normalize(reference); err != nil {
			return nil, err
		}
	}
	subject := strings.Join(names, ", ")
	digest, err := s.write(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("store image %s: %w", subject, err)
	}
	for _, full := range normalized {
		if !strings.Contains(full, "@") { // a digest needs no name
			if err := writeFile(filepath.Join(s.dir, "names", nameFile(full)), []byte(digest)); err != nil {
				return nil, fmt.Errorf("store image %s: %w", subject, err)
			}
		}
	}
	return s.load(digest, subject)
}

// write unpacks an image's layers and then writes its configuration and manifest, and returns the manifest's digest.
func (s *Store) write(ctx context.Context, image v1.Image) (string, error) {
	layers, err := image.Layers()
	if err != nil {
		return "", err
	}
	for _, layer := range layers {
		if err := s.addLayer(ctx, layer); err != nil {
			return "", err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return "", err
	}
	configDigest, err := image.ConfigName()
	if err != nil {
		return "", err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	if err := writeFile(s.blob(configDigest.String()), config); err != nil {
		return "", err
	}
	return digest.String(), writeFile(s.blob(digest.String()), manifest)
}

// Remove takes a name away, or all names of an image given by ID or digest, and removes what no name refers to any more.
// Layers that inUse says a container still runs on stay. ErrNotFound if there is no such image.
func (s *Store) Remove(reference string, inUse func(layerDir string) bool) (*Image, error) {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer unlock()
	image, removed, err := s.find(reference)
	if err != nil {
		return nil, err
	}
	for _, full := range removed {
		if err := os.Remove(filepath.Join(s.dir, "names", nameFile(full))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove image %q: %w", reference, err)
		}
	}
	if err := s.prune(inUse); err != nil {
		return nil, fmt.Errorf("remove image %q: %w", reference, err)
	}
	return image, nil
}

// find finds an image for removal, and which names go with it.
func (s *Store) find(reference string) (*Image, []string, error) {
	images, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	bare := strings.TrimPrefix(reference, "sha256:")
	for _, image := range images {
		for _, id := range []string{image.ID, image.Digest} {
			if hex := strings.TrimPrefix(id, "sha256:"); len(bare) >= 12 && strings.HasPrefix(hex, bare) {
				return image, image.Names, nil
			}
		}
	}
	image, err := s.Get(reference)
	if err != nil {
		return nil, nil, err
	}
	full, err := Normalize(reference)
	if err != nil {
		return nil, nil, err
	}
	if strings.Contains(full, "@") {
		return image, image.Names, nil
	}
	return image, []string{full}, nil
}

// Hold keeps everything in the store from being pruned until release is called: for who has got an Image and is about to run it.
func (s *Store) Hold() (release func(), err error) { return s.lock(unix.LOCK_SH) }

// Prune removes what no name refers to, unless somebody adds or holds something at this moment: then the next Prune will. See
// Remove for inUse.
func (s *Store) Prune(inUse func(layerDir string) bool) error {
	unlock, err := s.lock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.prune(inUse); err != nil {
		return fmt.Errorf("prune images: %w", err)
	}
	return nil
}

// prune removes blobs and layers that no name refers to, and what an interrupted unpacking left. The lock is held exclusively.
func (s *Store) prune(inUse func(layerDir string) bool) error {
	images, err := s.List()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, image := range images {
		keep[s.blob(image.ID)], keep[s.blob(image.Digest)] = true, true
		for _, dir := range image.LayerDirs {
			keep[dir] = true
		}
	}
	for _, sub := range []string{"blobs/sha256", "layers"} {
		entries, err := os.ReadDir(filepath.Join(s.dir, sub))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			path := filepath.Join(s.dir, sub, entry.Name())
			if keep[path] || sub == "layers" && inUse(path) {
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) blob(digest string) string {
	return filepath.Join(s.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func (s *Store) layer(diffID v1.Hash) string { return filepath.Join(s.dir, "layers", diffID.Hex) }

func (s *Store) manifest(digest string) (*v1.Manifest, error) {
	data, err := os.ReadFile(s.blob(digest))
	if err != nil {
		return nil, err
	}
	manifest := &v1.Manifest{}
	if err := json.Unmarshal(data, manifest); err != nil {
		return nil, fmt.Errorf("manifest %s is damaged: %w: load the image again", digest, err)
	}
	return manifest, nil
}

// writeFile makes the file at path appear whole, with the data on the disk.
func writeFile(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone already if all went well
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
