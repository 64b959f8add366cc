package volumes

import (
	"errors"
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
)

// makeHostPath checks that a hostPath is what its type says, and makes it where the type asks for that.
func makeHostPath(source *v1.HostPathVolumeSource) error {
	kind := v1.HostPathUnset
	if source.Type != nil {
		kind = *source.Type
	}
	path := source.Path
	switch kind {
	case v1.HostPathUnset:
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return os.MkdirAll(path, 0o755) // as container runtimes do
		} else {
			return err
		}
	case v1.HostPathDirectoryOrCreate:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	case v1.HostPathFileOrCreate:
		created, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		created.Close()
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("hostPath type check failed: %s is not %s", path, kindWords[kind])
	}
	if err != nil {
		return err
	}
	mode := info.Mode()
	fits := map[v1.HostPathType]bool{
		v1.HostPathDirectoryOrCreate: mode.IsDir(),
		v1.HostPathDirectory:         mode.IsDir(),
		v1.HostPathFileOrCreate:      mode.IsRegular(),
		v1.HostPathFile:              mode.IsRegular(),
		v1.HostPathSocket:            mode&os.ModeSocket != 0,
		v1.HostPathCharDev:           mode&os.ModeCharDevice != 0,
		v1.HostPathBlockDev:          mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0,
	}
	if !fits[kind] {
		return fmt.Errorf("hostPath type check failed: %s is not %s", path, kindWords[kind])
	}
	return nil
}

var kindWords = map[v1.HostPathType]string{
	v1.HostPathDirectoryOrCreate: "a directory",
	v1.HostPathDirectory:         "a directory",
	v1.HostPathFileOrCreate:      "a file",
	v1.HostPathFile:              "a file",
	v1.HostPathSocket:            "a socket file",
	v1.HostPathCharDev:           "a character device",
	v1.HostPathBlockDev:          "a block device",
}
