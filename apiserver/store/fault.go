package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	errDamaged     = errors.New("the file is damaged")
	errFormat      = errors.New("the file has another format")
	errUndecodable = errors.New("the object cannot be decoded")
)

// explainOpen says what is wrong with a file that cannot be opened, and what to do about it.
func explainOpen(path string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open store %s: another kubelite server holds the file; stop it first, or use another "+
			"state folder: %w", path, err)
	case errors.Is(err, errUndecodable):
		remedy = "was it written by a newer kubelite? Use that version, or restore the file from a copy"
	case errors.Is(err, errFormat):
		remedy = "name another file, or move this one away"
	case errors.Is(err, errDamaged), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		remedy = "restore the file from a copy, or move it away to start with an empty cluster"
	case errors.Is(err, fs.ErrPermission):
		remedy = "the server must be able to read and write it"
	case errors.Is(err, syscall.EROFS):
		remedy = "the state folder must be on a writable file system"
	case errors.Is(err, syscall.ENOSPC):
		remedy = "make room on the disk"
	case errors.Is(err, fs.ErrNotExist):
		remedy = "make its folder first"
	default:
		remedy = "restore the file from a copy, or move it away to start with an empty cluster"
	}
	return fmt.Errorf("open store %s: %w; %s", path, err, remedy)
}
