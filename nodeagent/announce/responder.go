package announce

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"golang.org/x/sys/unix"
)

// repeatAfter is RFC 5227's ANNOUNCE_INTERVAL between the two announcements of an address: Linux ignores a change of a
// neighbour entry that is less than a second old.
const repeatAfter = 2 * time.Second

// linkInterval is how often an interface that is down is looked at.
const linkInterval = 100 * time.Millisecond

// errInterfaceGone is returned when the interface was deleted: one that comes in its place is another, even under its name.
var errInterfaceGone = errors.New("the network interface is gone")

// responder answers ARP requests for a set of addresses on one interface. Its methods may be called concurrently.
type responder struct {
	namespace string // path
	name      string // of the interface
	index     int    // of the interface
	hardware  net.HardwareAddr
	socket    *os.File
	closed    chan struct{}

	mu        sync.Mutex
	addresses map[netip.Addr]bool
	repeat    *time.Timer
}

// newResponder opens a socket on the interface of the network namespace at path ("" is the own one). serve is to be called.
func newResponder(path, interfaceName string) (*responder, error) {
	r := &responder{namespace: path, name: interfaceName, closed: make(chan struct{}), addresses: map[netip.Addr]bool{}}
	err := netns.Do(path, func() error {
		link, err := net.InterfaceByName(interfaceName)
		if err != nil {
			return fmt.Errorf("find interface %s: %w", interfaceName, err)
		}
		r.index, r.hardware = link.Index, link.HardwareAddr
		r.socket, err = openSocket(link.Index, etherTypeARP)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(r.hardware) != 6 {
		r.socket.Close()
		return nil, fmt.Errorf("interface %s has no Ethernet address", interfaceName)
	}
	return r, nil
}

// openSocket opens a packet socket for one interface's incoming frames of an EtherType.
func openSocket(index int, etherType uint16) (*os.File, error) {
	protocol := etherType>>8 | etherType<<8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	// Bound before it receives: a socket opened with a protocol would see other interfaces until then.
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind packet socket: %w", err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("packets %#04x", etherType)), nil
}

// serve answers until the responder is closed, and returns nil then. errInterfaceGone is returned when the interface was deleted.
func (r *responder) serve() error {
	buffer := make([]byte, 1514)
	for {
		length, err := r.socket.Read(buffer)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, unix.ENETDOWN):
			if err := r.waitForLink(); err != nil { // said once when the link goes down
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("read ARP requests: %w", err)
		}
		if request, err := parseFrame(buffer[:length]); err == nil {
			r.handle(request)
		}
	}
}

// waitForLink waits until the interface is up again, or the responder closed. The socket does not tell a link that is down from one
// that is about to be deleted.
func (r *responder) waitForLink() error {
	for {
		var link *net.Interface
		err := netns.Do(r.namespace, func() (err error) {
			link, err = net.InterfaceByIndex(r.index)
			return err
		})
		if err != nil {
			return fmt.Errorf("%w: %w", errInterfaceGone, err)
		}
		if link.Flags&net.FlagUp != 0 {
			return nil
		}
		select {
		case <-r.closed:
			return nil
		case <-time.After(linkInterval):
		}
	}
}

func (r *responder) handle(request arp) {
	r.mu.Lock()
	announced := r.addresses[request.target]
	r.mu.Unlock()
	// Sender and target are equal in the announcements of another station.
	if request.operation == operationRequest && announced && request.sender != request.target {
		r.send(answer(request, r.hardware))
	}
}

func (r *responder) send(frame []byte) {
	if _, err := r.socket.Write(frame); err != nil && !errors.Is(err, os.ErrClosed) {
		slog.Warn("send ARP", "error", err)
	}
}

// announce answers for exactly the given addresses from now on, and tells the network about the new ones.
func (r *responder) announce(addresses []netip.Addr) (added, removed []netip.Addr) {
	wanted := make(map[netip.Addr]bool, len(addresses))
	r.mu.Lock()
	for _, address := range addresses {
		wanted[address] = true
		if !r.addresses[address] {
			added = append(added, address)
		}
	}
	for address := range r.addresses {
		if !wanted[address] {
			removed = append(removed, address)
		}
	}
	r.addresses = wanted
	if len(added) > 0 {
		r.repeatLater()
	}
	r.mu.Unlock()
	for _, address := range added {
		r.send(gratuitous(address, r.hardware))
	}
	return added, removed
}

// insist announces all addresses again: another node may have answered for them.
func (r *responder) insist() {
	r.announceAll()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repeatLater()
}

// repeatLater is called with the lock held.
func (r *responder) repeatLater() {
	if r.repeat != nil {
		r.repeat.Stop()
	}
	r.repeat = time.AfterFunc(repeatAfter, r.announceAll)
}

func (r *responder) announceAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for address := range r.addresses {
		r.send(gratuitous(address, r.hardware))
	}
}

// close ends serve. A second time it does nothing.
func (r *responder) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.repeat != nil {
		r.repeat.Stop()
	}
	r.addresses = nil
	select {
	case <-r.closed:
		return nil
	default:
		close(r.closed)
	}
	return r.socket.Close()
}
