package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."         // a file of the layers below is gone
	opaqueWhiteout = ".wh..wh..opq" // the whole directory below is hidden
	// opaqueAttribute is how overlayfs marks a directory that hides the one below.
	opaqueAttribute = "trusted.overlay.opaque"
	xattrPrefix     = "SCHILY.xattr." // PAX records of extended attributes
)

// addLayer unpacks a layer if it is not there. It appears by a rename, after its data is on the disk.
func (s *Store) addLayer(ctx context.Context, layer v1.Layer) error {
	diffID, err := layer.DiffID()
	if err != nil {
		return err
	}
	target := s.layer(diffID)
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	archive, err := layer.Uncompressed()
	if err != nil {
		return fmt.Errorf("read layer %s: %w", diffID, err)
	}
	defer archive.Close()
	temporary, err := os.MkdirTemp(filepath.Dir(target), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary) // gone already if all went well
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	sum := sha256.New()
	reader := io.TeeReader(contextReader{ctx, archive}, sum)
	if err := unpackLayer(reader, temporary); err != nil {
		return fmt.Errorf("unpack layer %s: %w", diffID, err)
	}
	if _, err := io.Copy(io.Discard, reader); err != nil { // padding after the end of the archive is part of the digest
		return fmt.Errorf("read layer %s: %w", diffID, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != diffID.Hex {
		return fmt.Errorf("layer %s is damaged: its content has the digest sha256:%s", diffID, got)
	}
	if err := syncFileSystem(temporary); err != nil {
		return err
	}
	err = os.Rename(temporary, target)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil // another process was faster
	}
	return err
}

// contextReader ends reading when its context does.
type contextReader struct {
	context context.Context
	reader  io.Reader
}

func (r contextReader) Read(buffer []byte) (int, error) {
	if err := r.context.Err(); err != nil {
		return 0, context.Cause(r.context)
	}
	return r.reader.Read(buffer)
}

// syncFileSystem puts everything of a directory's file system on the disk: one call, where a sync a file would be thousands.
func syncFileSystem(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// unpackLayer unpacks a layer's archive into a directory, with whiteouts as overlayfs has them (image-spec, "Layer Filesystem
// Changeset"). Nothing is written outside the directory, whatever the archive says.
func unpackLayer(archive io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	reader := tar.NewReader(archive)
	var directories []*tar.Header // their times are set last: files that are unpacked into them change them
	for {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		header.Name = strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if header.Name == "" {
			continue // the root itself
		}
		if err := unpackEntry(root, reader, header); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
		if header.Typeflag == tar.TypeDir {
			directories = append(directories, header)
		}
	}
	for _, header := range directories {
		if err := root.Chtimes(header.Name, header.ModTime, header.ModTime); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
	return nil
}

func unpackEntry(root *os.Root, content io.Reader, header *tar.Header) error {
	parent, base := path.Split(header.Name)
	if parent = strings.TrimSuffix(parent, "/"); parent != "" {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	if base == opaqueWhiteout {
		return inParent(root, parent, func(fd int) error { return unix.Fsetxattr(fd, opaqueAttribute, []byte("y"), 0) })
	}
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		return inParent(root, parent, func(fd int) error { return unix.Mknodat(fd, hidden, unix.S_IFCHR, 0) })
	}
	if existing, err := root.Lstat(header.Name); err == nil && !(existing.IsDir() && header.Typeflag == tar.TypeDir) {
		if err := root.RemoveAll(header.Name); err != nil {
			return err
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(header.Name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		if err := unpackFile(root, content, header.Name); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := root.Symlink(header.Linkname, header.Name); err != nil {
			return err
		}
		return root.Lchown(header.Name, header.Uid, header.Gid)
	case tar.TypeLink:
		return root.Link(strings.TrimPrefix(path.Clean("/"+header.Linkname), "/"), header.Name)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[header.Typeflag]
		device := int(unix.Mkdev(uint32(header.Devmajor), uint32(header.Devminor)))
		if err := inParent(root, parent, func(fd int) error { return unix.Mknodat(fd, base, kind, device) }); err != nil {
			return err
		}
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("the archive has an entry of unknown type %q", header.Typeflag)
	}
	return setMetadata(root, parent, base, header)
}

func unpackFile(root *os.Root, content io.Reader, name string) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// setMetadata sets owner, mode, extended attributes and times, in an order in which none undoes another.
func setMetadata(root *os.Root, parent, base string, header *tar.Header) error {
	if err := root.Lchown(header.Name, header.Uid, header.Gid); err != nil {
		return err
	}
	mode := uint32(header.Mode) & 0o7777 // chown took set-user-ID away
	if err := inParent(root, parent, func(fd int) error { return unix.Fchmodat(fd, base, mode, 0) }); err != nil {
		return err
	}
	for record, value := range header.PAXRecords {
		if attribute, ok := strings.CutPrefix(record, xattrPrefix); ok {
			err := inParent(root, parent, func(fd int) error {
				return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", fd, base), attribute, []byte(value), 0)
			})
			if err != nil && !errors.Is(err, unix.ENOTSUP) {
				return fmt.Errorf("set attribute %s: %w", attribute, err)
			}
		}
	}
	return root.Chtimes(header.Name, header.ModTime, header.ModTime)
}

// inParent calls f with a descriptor of a directory below root.
func inParent(root *os.Root, parent string, f func(fd int) error) error {
	if parent == "" {
		parent = "."
	}
	directory, err := root.Open(parent)
	if err != nil {
		return err
	}
	defer directory.Close()
	return f(int(directory.Fd()))
}
