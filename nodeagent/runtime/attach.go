package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// The first byte of each packet that conmon sends says what it is.
const (
	attachStdout = 2
	attachStderr = 3
	attachPacket = 8192 + 1 // bytes, the longest
)

// Attach joins the streams to those of the container's first process, until it exits or ctx is done. What was written before is in the log only.
func (h *Host) Attach(ctx context.Context, id string, streams Streams) error {
	r, ok := h.record(id)
	if !ok || r.State != Running {
		return fmt.Errorf("attach to container %s: %w", id, ErrNotRunning)
	}
	conn, err := dialAttach(h.bundleDir(id))
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", id, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ended := make(chan struct{})
	var resizing sync.WaitGroup
	defer resizing.Wait()
	defer close(ended)
	if r.TTY && streams.Resize != nil {
		resizing.Go(func() { h.resize(id, streams.Resize, ended) })
	}
	if streams.Stdin != nil && r.Stdin {
		go func() { // ends with the connection or with its reader
			_, _ = io.Copy(conn, streams.Stdin)
			if r.StdinOnce && !r.TTY {
				_ = conn.CloseWrite() // fails only if the container has gone
			}
		}()
	}
	if err := readAttached(conn, streams); err != nil && ctx.Err() == nil {
		return fmt.Errorf("attach to container %s: %w", id, err)
	}
	return nil
}

// dialAttach connects to conmon's socket, by way of the folder's descriptor: a socket's path has 108 bytes at most.
func dialAttach(bundle string) (*net.UnixConn, error) {
	folder, err := os.Open(bundle)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	address := &net.UnixAddr{Net: "unixpacket", Name: "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/attach"}
	return net.DialUnix("unixpacket", nil, address)
}

func readAttached(conn io.Reader, streams Streams) error {
	packet := make([]byte, attachPacket)
	for {
		n, err := conn.Read(packet)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) || n == 0 && err == nil {
			return nil
		} else if err != nil {
			return err
		}
		var to io.Writer
		switch packet[0] {
		case attachStdout:
			to = streams.Stdout
		case attachStderr:
			to = streams.Stderr
		}
		if to == nil {
			continue
		}
		if _, err := to.Write(packet[1:n]); err != nil {
			return err
		}
	}
}

// resize tells conmon the terminal's size by its control FIFO: "1 HEIGHT WIDTH".
func (h *Host) resize(id string, sizes <-chan TerminalSize, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			control, err := os.OpenFile(filepath.Join(h.bundleDir(id), "ctl"), os.O_WRONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				return // the container has ended
			}
			_, _ = fmt.Fprintf(control, "1 %d %d\n", size.Height, size.Width) // likewise
			control.Close()
		}
	}
}
