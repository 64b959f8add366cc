package pki

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// loadOrCreateFile reads a file, or makes it with what generate returns. The file appears whole and synced or not at
// all; of several processes that make it at once the first wins, and all return its content.
func loadOrCreateFile(path string, mode fs.FileMode, generate func() ([]byte, error)) ([]byte, error) {
	content, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return content, err
	}
	if content, err = generate(); err != nil {
		return nil, err
	}
	temporary, err := writeTemporary(path, mode, content)
	if err != nil {
		return nil, err
	}
	// A link, unlike a rename, never replaces what another process has put there.
	err = os.Link(temporary, path)
	if removeErr := os.Remove(temporary); removeErr != nil {
		return nil, errors.Join(err, removeErr)
	}
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	return content, syncDirectory(filepath.Dir(path))
}

// replaceFile writes a file that readers see either as it was or whole.
func replaceFile(path string, mode fs.FileMode, content []byte) error {
	temporary, err := writeTemporary(path, mode, content)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDirectory(filepath.Dir(path))
}

// writeTemporary writes and syncs a new file beside path. CreateTemp makes it 0600, so a key is never readable by others.
func writeTemporary(path string, mode fs.FileMode, content []byte) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
