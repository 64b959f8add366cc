package userspace

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/proxy/backend"
	"golang.org/x/sys/unix"
)

// dialer connects to an endpoint from within the network namespace of the backend.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// newDialer makes a dialer for the namespace at path whose packets carry the mark that jumps leave alone. An endpoint on the node's own
// network may be where the Service itself is reached, at a load balancer's address that is the node's: such a connection would be led
// back to its proxy port, and from there again, until the process has no file descriptor left.
func newDialer(path string, mark uint32) dialer {
	own := net.Dialer{FallbackDelay: -1, Control: func(_, _ string, raw syscall.RawConn) error { // one address, one thread
		var failure error
		if err := raw.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)) }); err != nil {
			return err
		}
		if failure != nil {
			return fmt.Errorf("mark own packets: %w", failure)
		}
		return nil
	}}
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = netns.Do(path, func() error {
			conn, err = own.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// others matches packets that are not the proxy's own. The mode masquerades nothing, so that MasqueradeMark is free for this.
func others(options backend.Options) string {
	return fmt.Sprintf("-m mark ! --mark %#[1]x/%#[1]x ", options.MasqueradeMark())
}
