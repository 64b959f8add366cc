package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image is a finished image and its name.
type image struct {
	name string
	v1.Image
}

// makeImages puts all images together.
func makeImages(ctx context.Context, pool *pool, apps map[string]tree) ([]image, error) {
	layers, err := newLayers(ctx, pool, apps)
	if err != nil {
		return nil, err
	}
	var images []image
	for _, definition := range define(layers) {
		made, err := definition.make()
		if err != nil {
			return nil, fmt.Errorf("make image %s: %w", definition.name, err)
		}
		images = append(images, image{definition.name, made})
	}
	return images, nil
}

func (d definition) make() (v1.Image, error) {
	made := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.ConfigFile(made, d.configFile())
	if err != nil {
		return nil, err
	}
	if made, err = mutate.AppendLayers(made, d.layers...); err != nil {
		return nil, err
	}
	return mutate.Annotations(made, d.annotations()).(v1.Image), nil
}

// layer is the tree as a compressed layer.
func (t tree) layer() (v1.Layer, error) {
	var archive bytes.Buffer
	if err := t.write(&archive); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// writeBundle writes the images as an OCI layout in a tar file, which appears when it is whole.
func writeBundle(work, output string, images []image) error {
	folder := filepath.Join(work, "layout")
	target, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	for _, image := range images {
		annotations := map[string]string{"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
		if err := target.AppendImage(image, layout.WithAnnotations(annotations)); err != nil {
			return fmt.Errorf("%s: %w", image.name, err)
		}
	}
	temporary := filepath.Join(work, "images.tar")
	if err := archiveFolder(temporary, folder); err != nil {
		return err
	}
	return os.Rename(temporary, output)
}

// archiveFolder writes a folder's files to a new tar file, sorted and of no particular time.
func archiveFolder(target, folder string) error {
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(file)
	err = filepath.WalkDir(folder, func(name string, found fs.DirEntry, err error) error {
		if err != nil || found.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(relative), Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	})
	return errors.Join(err, archive.Close(), file.Close())
}

// report prints the images with the sizes of their layers' archives, in megabytes, and the whole.
func report(out io.Writer, output string, images []image, took time.Duration) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, image := range images {
		manifest, err := image.Manifest()
		if err != nil {
			return err
		}
		size := int64(0)
		for _, layer := range manifest.Layers {
			size += layer.Size
		}
		fmt.Fprintf(table, "%s\t%.1f MB\n", image.name, float64(size)/1e6)
	}
	info, err := os.Stat(output)
	if err != nil {
		return err
	}
	fmt.Fprintf(table, "%s, layers shared\t%.1f MB\tin %.1f s\n", filepath.Base(output), float64(info.Size())/1e6, took.Seconds())
	return table.Flush()
}
