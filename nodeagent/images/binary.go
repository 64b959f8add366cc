package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// binaryAnnotation says which file of this machine an image made by AddBinary was made from.
const binaryAnnotation = "kubelite.dev/binary"

// AddBinary makes an image that holds one statically linked program, at the given path in it, and nothing else. If the name
// stands for one that was made from this very file (same inode, size and time of change), that one is returned at once.
func (s *Store) AddBinary(ctx context.Context, reference, program, pathInImage string) (*Image, error) {
	info, err := os.Stat(program)
	if err != nil {
		return nil, fmt.Errorf("make image %s: %w", reference, err)
	}
	identity := fmt.Sprintf("%d-%d-%d", info.Sys().(*syscall.Stat_t).Ino, info.Size(), info.ModTime().UnixNano())
	if image, err := s.Get(reference); err == nil && image.Annotations[binaryAnnotation] == identity {
		return image, nil
	}
	layer, err := newFileLayer(program, info.Size(), pathInImage)
	if err != nil {
		return nil, fmt.Errorf("make image %s: %w", reference, err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("make image %s: %w", reference, err)
	}
	image, err = mutate.Config(image, v1.Config{Entrypoint: []string{"/" + path.Clean(pathInImage)}, WorkingDir: "/"})
	if err != nil {
		return nil, fmt.Errorf("make image %s: %w", reference, err)
	}
	annotated := mutate.Annotations(image, map[string]string{binaryAnnotation: identity}).(v1.Image)
	return s.Add(ctx, annotated, reference)
}

// fileLayer is an uncompressed layer with one file, made while it is read. It implements v1.Layer.
type fileLayer struct {
	program, name string
	fileSize      int64
	digest        v1.Hash
	size          int64
}

func newFileLayer(program string, size int64, name string) (*fileLayer, error) {
	layer := &fileLayer{program: program, name: path.Clean(name), fileSize: size}
	archive, err := layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	sum := sha256.New()
	if layer.size, err = io.Copy(sum, archive); err != nil {
		return nil, err
	}
	layer.digest = v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sum.Sum(nil))}
	return layer, nil
}

func (l *fileLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)            { return l.digest, nil }
func (l *fileLayer) Size() (int64, error)                { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)  { return l.Uncompressed() }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) {
	file, err := os.Open(l.program)
	if err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	go func() { // ends when all is written, or when the reader is closed
		defer file.Close()
		writer.CloseWithError(l.write(writer, file))
	}()
	return reader, nil
}

// write writes the archive; it is the same every time.
func (l *fileLayer) write(target io.Writer, content io.Reader) error {
	archive := tar.NewWriter(target)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: l.name, Mode: 0o755, Size: l.fileSize, ModTime: time.Unix(0, 0)}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.CopyBuffer(archive, content, make([]byte, 1<<20))
	return errors.Join(err, archive.Close())
}
