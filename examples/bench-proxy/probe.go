package main

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// errNoAnswer is returned when the other side is silent for longer than a probe waits.
var errNoAnswer = errors.New("no answer")

// connect opens a TCP connection from the calling thread's network namespace with plain system calls: nothing of Go's runtime
// is measured. The caller hands the socket to reset. Reading from it waits as long as timeout says, too.
//
// What is refused with an ICMP message may look like no answer: on a veth pair it arrives while the socket is still sending.
func connect(to netip.AddrPort, timeout time.Duration) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if errors.Is(err, unix.EINPROGRESS) {
		err = finishConnect(fd, timeout)
	}
	limit := unix.NsecToTimeval(timeout.Nanoseconds())
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func finishConnect(fd int, timeout time.Duration) error {
	limit := unix.NsecToTimespec(timeout.Nanoseconds())
	n, err := uninterrupted(func() (int, error) {
		return unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, &limit, nil) // which takes what has passed from limit
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return errNoAnswer
	}
	status, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && status != 0 {
		err = unix.Errno(status)
	}
	return err
}

// uninterrupted makes a system call again when a signal ended it: Go's runtime sends some to its own threads.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// reset closes the connection so that neither side remembers it.
func reset(fd int) error {
	err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return errors.Join(err, unix.Close(fd))
}

// answerer connects and returns the address of the endpoint that answered.
func answerer(to netip.AddrPort, timeout time.Duration) (netip.Addr, error) {
	fd, err := connect(to, timeout)
	if err != nil {
		return netip.Addr{}, err
	}
	var address [4]byte
	n, err := uninterrupted(func() (int, error) { return unix.Read(fd, address[:]) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		err = errNoAnswer
	case err == nil && n < len(address):
		err = errNoAnswer
	}
	return netip.AddrFrom4(address), errors.Join(err, reset(fd))
}
