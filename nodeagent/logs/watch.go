package logs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watch tells by inotify when a file has grown.
type watch struct {
	file    *os.File
	changed chan struct{} // of one place
}

func watchFile(path string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch log: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify") // non-blocking, so its reads end when it is closed
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_DELETE_SELF); err != nil {
		file.Close()
		return nil, fmt.Errorf("watch log: %w", err)
	}
	w := &watch{file: file, changed: make(chan struct{}, 1)}
	go w.read()
	return w, nil
}

// read ends when the watch is closed.
func (w *watch) read() {
	buffer := make([]byte, 4096)
	for {
		if _, err := w.file.Read(buffer); err != nil {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *watch) close() { w.file.Close() }
