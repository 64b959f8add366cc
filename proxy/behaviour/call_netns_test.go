package behaviour

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netns"
)

// Sockets are the kernel's own here, not Go's: SCTP needs it, and a client whose thread stays in its namespace is several times
// faster than one that enters it for each call.

// outcome is what a client learns.
type outcome string

const (
	answered   outcome = "answered"
	refused    outcome = "refused"
	unanswered outcome = "unanswered"
	// unreachable is what a router says that knows no way: the packet left the node as if there was no Service.
	unreachable outcome = "unreachable"
)

// answer is what a server said: who it is, and from where it saw the client.
type answer struct {
	outcome
	endpoint place
	source   netip.Addr
}

func (a answer) String() string {
	if a.outcome != answered {
		return string(a.outcome)
	}
	return fmt.Sprintf("%s saw %s", a.endpoint, a.source)
}

// patience is how long a client waits where it expects an answer; impatience where it expects none.
const (
	patience   = 5 * time.Second
	impatience = 300 * time.Millisecond
)

// call asks the address once, from the namespace of the calling thread.
func call(protocol corev1.Protocol, address netip.AddrPort, wait time.Duration) (answer, error) {
	socket, err := open(protocol, address.Addr())
	if err != nil {
		return answer{}, err
	}
	defer unix.Close(socket)
	switch protocol {
	case corev1.ProtocolUDP:
		err = bindFresh(socket, address.Addr())
	case corev1.ProtocolSCTP:
		err = bindToOne(socket, address)
	}
	if err != nil {
		return answer{}, err
	}
	// Closed by a reset, so that thousands of connections leave no port and no tracked connection waiting.
	if err := unix.SetsockoptLinger(socket, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return answer{}, fmt.Errorf("set linger: %w", err)
	}
	buffer := make([]byte, 128)
	for waited := time.Duration(0); waited < wait; {
		step := wait
		if protocol == corev1.ProtocolUDP { // which nobody sends again
			step = min(wait, time.Second)
		}
		waited += step
		timeout := unix.NsecToTimeval(step.Nanoseconds())
		if err := errors.Join(unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
			unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)); err != nil {
			return answer{}, err
		}
		n, err := ask(socket, protocol, address, buffer)
		switch {
		case err == nil && n > 0:
			return parseAnswer(string(buffer[:n]))
		case err == nil: // closed without a word
			return answer{outcome: unanswered}, nil
		case errors.Is(err, unix.ECONNREFUSED):
			return answer{outcome: refused}, nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPERM): // dropped on the way out of this very node
			return answer{outcome: unanswered}, nil
		case errors.Is(err, unix.ENETUNREACH):
			return answer{outcome: unreachable}, nil
		default:
			return answer{}, err
		}
	}
	return answer{outcome: unanswered}, nil
}

// Source ports of UDP clients. A kernel that chose them would soon choose one again whose connection is tracked still: its packets
// would go where the earlier ones went.
const (
	firstFreshPort = 10000
	freshPorts     = 55000
)

var freshPort atomic.Uint32

// bindFresh binds the socket to a port that has been no UDP client's for as long as possible.
func bindFresh(socket int, to netip.Addr) error {
	from := netip.IPv4Unspecified()
	if to.Is6() {
		from = netip.IPv6Unspecified()
	}
	for range freshPorts {
		port := uint16(firstFreshPort + freshPort.Add(1)%freshPorts)
		if err := unix.Bind(socket, sockaddr(netip.AddrPortFrom(from, port))); !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
	return errors.New("bind UDP client: no port is free")
}

// bindToOne binds the socket to the address that the kernel would choose to call from. SCTP tells its peer all addresses of a client that is
// not bound, and nobody translates those: what the peer sends there is answered with a reset.
func bindToOne(socket int, to netip.AddrPort) error {
	looking, err := open(corev1.ProtocolUDP, to.Addr())
	if err != nil {
		return err
	}
	defer unix.Close(looking)
	if err := unix.Connect(looking, sockaddr(to)); err != nil {
		return nil // the call itself will hear of it
	}
	from, err := unix.Getsockname(looking)
	if err != nil {
		return fmt.Errorf("find own address: %w", err)
	}
	return unix.Bind(socket, sockaddr(netip.AddrPortFrom(addressOf(from), 0)))
}

func ask(socket int, protocol corev1.Protocol, address netip.AddrPort, buffer []byte) (int, error) {
	if err := retry(func() error { return unix.Connect(socket, sockaddr(address)) }); err != nil {
		return 0, err
	}
	if protocol == corev1.ProtocolUDP {
		// One that is refused by the client's own node is both not permitted and refused.
		if _, err := unix.Write(socket, []byte("?")); err != nil && !errors.Is(err, unix.EPERM) {
			return 0, err
		}
	}
	var n int
	err := retry(func() (err error) { n, err = unix.Read(socket, buffer); return err })
	return n, err
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func parseAnswer(text string) (answer, error) {
	name, source, _ := strings.Cut(text, " ")
	address, err := netip.ParseAddr(source)
	return answer{answered, place(name), address.Unmap()}, err
}

// open makes a socket.
func open(protocol corev1.Protocol, address netip.Addr) (int, error) {
	family := unix.AF_INET
	if address.Is6() {
		family = unix.AF_INET6
	}
	kind, number := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch protocol {
	case corev1.ProtocolUDP:
		kind, number = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case corev1.ProtocolSCTP:
		number = unix.IPPROTO_SCTP
	}
	socket, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, number)
	if err != nil {
		return 0, fmt.Errorf("open %s socket: %w", protocol, err)
	}
	return socket, nil
}

func sockaddr(address netip.AddrPort) unix.Sockaddr {
	if address.Addr().Is6() {
		return &unix.SockaddrInet6{Addr: address.Addr().As16(), Port: int(address.Port())}
	}
	return &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}
}

func addressOf(from unix.Sockaddr) netip.Addr {
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(from.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(from.Addr).Unmap()
	}
	return netip.Addr{}
}

// hasSCTP says whether the kernel has SCTP sockets.
func hasSCTP() bool {
	socket, err := open(corev1.ProtocolSCTP, netip.IPv4Unspecified())
	if err != nil {
		return false
	}
	return unix.Close(socket) == nil
}

// serve answers in the place, at its own address and the port, until the test ends.
func (l *lab) serve(p place, protocol corev1.Protocol, family corev1.IPFamily, port uint16) {
	l.Helper()
	at := netip.AddrPortFrom(p.address(family), port)
	var socket int
	err := netns.Do(l.path(p), func() (err error) {
		if socket, err = open(protocol, at.Addr()); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
		err = errors.Join(unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
			unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
			unix.Bind(socket, sockaddr(at)))
		if err == nil && protocol != corev1.ProtocolUDP {
			err = unix.Listen(socket, 4096)
		}
		return err
	})
	if err != nil {
		l.Fatalf("serve %s at %s in %s: %v", protocol, at, p, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- answerAll(ctx, socket, protocol, p) }()
	l.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, unix.Close(socket)); err != nil {
			l.Errorf("serve %s in %s: %v", protocol, p, err)
		}
	})
}

// answerAll answers on the socket until ctx is done. A client that is gone already is no error.
func answerAll(ctx context.Context, socket int, protocol corev1.Protocol, name place) error {
	buffer := make([]byte, 16)
	for ctx.Err() == nil {
		if protocol == corev1.ProtocolUDP {
			_, from, err := unix.Recvfrom(socket, buffer, 0)
			if err == nil {
				err = unix.Sendto(socket, fmt.Appendf(nil, "%s %s", name, addressOf(from)), 0, from)
			}
			if err != nil && !isPassing(err) {
				return fmt.Errorf("answer: %w", err)
			}
			continue
		}
		connection, from, err := unix.Accept4(socket, unix.SOCK_CLOEXEC)
		if err != nil {
			if !isPassing(err) {
				return fmt.Errorf("accept: %w", err)
			}
			continue
		}
		_, err = unix.SendmsgN(connection, fmt.Appendf(nil, "%s %s", name, addressOf(from)), nil, nil, unix.MSG_NOSIGNAL)
		if err = errors.Join(err, unix.Close(connection)); err != nil && !isPassing(err) {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return nil
}

func isPassing(err error) bool {
	for _, passing := range []unix.Errno{unix.EAGAIN, unix.EINTR, unix.EPIPE, unix.ECONNRESET, unix.ECONNABORTED, unix.ECONNREFUSED, unix.ENOTCONN} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// clients are threads in the namespace of a place. What is sent to work is done by one of them.
func (l *lab) clients(p place, threads int, work <-chan func()) (wait func()) {
	l.Helper()
	var group sync.WaitGroup
	for range threads {
		group.Add(1)
		ready := make(chan error, 1)
		go func() {
			defer group.Done()
			runtime.LockOSThread() // never unlocked: the thread stays in the namespace and ends with the goroutine
			err := enter(l.path(p))
			ready <- err
			if err != nil {
				return
			}
			for f := range work {
				f()
			}
		}()
		if err := <-ready; err != nil {
			l.Fatal(err)
		}
	}
	return group.Wait
}

func enter(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}
