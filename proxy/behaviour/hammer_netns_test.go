package behaviour

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netns"
)

// echoPort is where Pods say everything back, as long as the client likes.
const echoPort = 8081

// hammer makes connections to Services without a pause, and keeps some open, until it is stopped. Whatever it loses fails the test.
type hammer struct {
	*lab
	cancel context.CancelFunc
	group  sync.WaitGroup
	made   atomic.Int64 // connections that were answered
	echoes atomic.Int64 // answers on connections that stay open
	mutex  sync.Mutex
	lost   []string
}

// pauseBetween bounds the hammer's load: about a hundred connections a second from each client.
const pauseBetween = 5 * time.Millisecond

// startHammer calls each target from its client over and over, and keeps a connection to each target's echo open.
func (l *lab) startHammer(targets []hammered) *hammer {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h := &hammer{lab: l, cancel: cancel}
	for _, target := range targets {
		work := make(chan func(), 1)
		wait := l.clients(target.client, 1, work)
		work <- func() { h.connect(ctx, target) }
		close(work)
		h.group.Go(wait)
		if target.echo.IsValid() {
			conn, err := netns.Dialer(l.path(target.client))(ctx, "tcp", target.echo.String())
			if err != nil {
				l.Fatalf("open a connection from %s to %s: %v", target.client, target.echo, err)
			}
			h.group.Go(func() { h.keepTalking(ctx, conn, target) })
		}
	}
	l.Cleanup(func() { h.stop() })
	return h
}

// hammered is a Service as one client calls it. echo is where a connection is kept open; nowhere without one.
type hammered struct {
	testCase
	target, echo netip.AddrPort
}

func (h *hammer) connect(ctx context.Context, target hammered) {
	for ctx.Err() == nil {
		got, err := call(target.protocol, target.target, slowly(patience))
		switch {
		case err != nil:
			h.lose("%s: %v", target, err)
		case got.outcome != answered:
			h.lose("%s: %s", target, got)
		default:
			h.made.Add(1)
		}
		time.Sleep(slowly(pauseBetween))
	}
}

func (h *hammer) keepTalking(ctx context.Context, conn net.Conn, target hammered) {
	defer conn.Close()
	buffer := make([]byte, 1)
	for ctx.Err() == nil {
		err := conn.SetDeadline(time.Now().Add(slowly(30 * time.Second)))
		if err == nil {
			_, err = conn.Write([]byte("?"))
		}
		if err == nil {
			_, err = io.ReadFull(conn, buffer)
		}
		if err != nil {
			h.lose("established connection, %s: %v", target, err)
			return
		}
		h.echoes.Add(1)
		time.Sleep(slowly(pauseBetween))
	}
}

func (h *hammer) lose(format string, arguments ...any) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.lost = append(h.lost, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
}

// stop ends the hammer and fails the test with what was lost. It may be called again.
func (h *hammer) stop() {
	h.Helper()
	h.cancel()
	h.group.Wait()
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for i, lost := range h.lost {
		if i == 20 {
			h.Errorf("and %d more", len(h.lost)-i)
			break
		}
		h.Error(lost)
	}
	h.lost = nil
}

// serveEchoes makes the Pods say back what they hear on echoPort.
func (l *lab) serveEchoes(pods ...place) {
	l.Helper()
	for _, pod := range pods {
		listener, err := netns.Listen(l.path(pod), "tcp", fmt.Sprintf(":%d", echoPort))
		if err != nil {
			l.Fatal(err)
		}
		l.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return // closed, at the test's end
				}
				go func() {
					defer conn.Close()
					io.Copy(conn, conn) // until the client has enough
				}()
			}
		}()
	}
}

// steady are Services that nobody changes, in every way that they can be reached, from inside and outside the cluster.
func steady() []shape {
	var all []shape
	for _, kind := range []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer} {
		for _, sticky := range []bool{false, true} {
			all = append(all, shape{kind: kind, endpoints: "both", admits: "all", sticky: sticky, externalLocal: sticky})
		}
	}
	return all
}
