package announce

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
)

// herald sends and hears beats on one interface.
type herald struct {
	identity identity
	name     string // of the interface
	hardware net.HardwareAddr
	socket   *os.File
	heard    chan string // nodes
}

// newHerald opens a socket beside the responder's. listen is to be called.
func newHerald(identity identity, responder *responder) (*herald, error) {
	h := &herald{identity: identity, name: responder.name, hardware: responder.hardware, heard: make(chan string)}
	err := netns.Do(responder.namespace, func() (err error) {
		h.socket, err = openSocket(responder.index, etherTypeBeat)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// listen hears beats until the herald is closed, and returns nil then.
func (h *herald) listen() error {
	defer close(h.heard)
	buffer := make([]byte, 1514)
	listener := newListener(h.identity)
	for {
		length, err := h.socket.Read(buffer)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, unix.ENETDOWN): // said once; the responder finds out whether the interface is gone
			continue
		case err != nil:
			return fmt.Errorf("hear heartbeats: %w", err)
		}
		now, err := uptime()
		if err != nil {
			return fmt.Errorf("hear heartbeats: %w", err)
		}
		node, err := listener.node(buffer[:length], now)
		if err != nil {
			slog.Debug("a frame is ignored", "error", err)
			continue
		}
		h.heard <- node
	}
}

// plugged says whether the interface is up and has a carrier. It costs one system call.
func (h *herald) plugged() (bool, error) {
	request, err := unix.NewIfreq(h.name)
	if err != nil {
		return false, fmt.Errorf("ask for the state of %s: %w", h.name, err)
	}
	raw, err := h.socket.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("ask for the state of %s: %w", h.name, err)
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { asked = unix.IoctlIfreq(int(fd), unix.SIOCGIFFLAGS, request) }); err != nil {
		asked = err
	}
	if asked != nil {
		return false, fmt.Errorf("ask for the state of %s: %w", h.name, asked)
	}
	return request.Uint16()&unix.IFF_RUNNING != 0, nil
}

// say sends a beat.
func (h *herald) say() error {
	now, err := uptime()
	if err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	frame, err := h.identity.beat(h.hardware, now)
	if err != nil {
		return err
	}
	if _, err := h.socket.Write(frame); err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	return nil
}

// close ends listen; what it hears until then is to be received.
func (h *herald) close() error { return h.socket.Close() }
