package images

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// nameAnnotations are the index annotations that hold an image's name: containerd's full one, and the OCI layout's.
var nameAnnotations = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}

// Load adds every named image of an archive, which may be gzipped: an OCI layout in a tar file, or what `docker save` writes.
// It returns what it added.
func (s *Store) Load(ctx context.Context, archive io.Reader) ([]*Image, error) {
	images, err := s.loadArchive(ctx, archive)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	return images, nil
}

func (s *Store) loadArchive(ctx context.Context, archive io.Reader) ([]*Image, error) {
	directory, err := os.MkdirTemp(s.dir, ".load-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(directory)
	spool := filepath.Join(directory, "archive.tar") // both formats are read in another order than they are written
	if err := copyUncompressed(spool, contextReader{ctx, archive}); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return os.Open(spool) }
	unpacked := filepath.Join(directory, "layout")
	isLayout, err := extractLayout(spool, unpacked)
	if err != nil {
		return nil, err
	}
	if isLayout {
		return s.loadLayout(ctx, unpacked)
	}
	manifest, err := tarball.LoadManifest(opener)
	if err != nil {
		return nil, errors.New("the file is no image archive: it has neither index.json (an OCI layout) nor manifest.json (docker save)")
	}
	return s.loadDockerArchive(ctx, opener, manifest)
}

// copyUncompressed writes a stream that may be gzipped to a new file.
func copyUncompressed(target string, source io.Reader) error {
	buffered := bufio.NewReader(source)
	source = buffered
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		defer unzipped.Close()
		source = unzipped
	}
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, source)
	return errors.Join(err, file.Close())
}

// extractLayout unpacks the files of an OCI layout, and says whether the archive is one.
func extractLayout(archive, directory string) (bool, error) {
	file, err := os.Open(archive)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if err := os.Mkdir(directory, 0o700); err != nil {
		return false, err
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return false, err
	}
	defer root.Close()
	reader := tar.NewReader(file)
	isLayout := false
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return isLayout, nil
		}
		if err != nil {
			return false, fmt.Errorf("the file is no image archive: %w", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if header.Typeflag != tar.TypeReg || name != "index.json" && !strings.HasPrefix(name, "blobs/") {
			continue
		}
		isLayout = isLayout || name == "index.json"
		if parent := path.Dir(name); parent != "." {
			if err := root.MkdirAll(parent, 0o700); err != nil {
				return false, err
			}
		}
		if err := unpackFile(root, reader, name); err != nil {
			return false, err
		}
	}
}

// loadLayout adds the images of an OCI layout that are for this machine.
func (s *Store) loadLayout(ctx context.Context, directory string) ([]*Image, error) {
	index, err := layout.ImageIndexFromPath(directory)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []*Image
	for _, descriptor := range manifest.Manifests {
		reference := ""
		for _, annotation := range nameAnnotations {
			reference = cmp.Or(reference, descriptor.Annotations[annotation])
		}
		if reference == "" {
			continue // a part of another
		}
		image, err := forThisMachine(index, descriptor)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", reference, err)
		}
		added, err := s.Add(ctx, image, reference)
		if err != nil {
			return nil, err
		}
		images = append(images, added)
	}
	if images == nil {
		return nil, fmt.Errorf("the archive's index names no image: its manifests need the annotation %s", nameAnnotations[0])
	}
	return images, nil
}

// forThisMachine finds the image that a descriptor means on this architecture.
func forThisMachine(index v1.ImageIndex, descriptor v1.Descriptor) (v1.Image, error) {
	if descriptor.MediaType.IsImage() {
		return index.Image(descriptor.Digest)
	}
	if !descriptor.MediaType.IsIndex() {
		return nil, fmt.Errorf("%s is no image", descriptor.MediaType)
	}
	child, err := index.ImageIndex(descriptor.Digest)
	if err != nil {
		return nil, err
	}
	manifest, err := child.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, candidate := range manifest.Manifests {
		if platform := candidate.Platform; platform == nil || platform.OS == "linux" && platform.Architecture == runtime.GOARCH {
			return child.Image(candidate.Digest)
		}
	}
	return nil, fmt.Errorf("it has no image for linux/%s", runtime.GOARCH)
}

// loadDockerArchive adds the images of a `docker save` archive.
func (s *Store) loadDockerArchive(ctx context.Context, opener tarball.Opener, manifest tarball.Manifest) ([]*Image, error) {
	var images []*Image
	for _, descriptor := range manifest {
		if len(descriptor.RepoTags) == 0 {
			continue
		}
		tag, err := name.NewTag(descriptor.RepoTags[0])
		if err != nil {
			return nil, err
		}
		image, err := tarball.Image(opener, &tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tag, err)
		}
		added, err := s.Add(ctx, image, descriptor.RepoTags...)
		if err != nil {
			return nil, err
		}
		images = append(images, added)
	}
	if images == nil {
		return nil, errors.New("the archive names no image: save it by name, not by ID")
	}
	return images, nil
}
