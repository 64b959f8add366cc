package userspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// udpIdleTimeout is how long a UDP client keeps its endpoint without a packet in either direction: what the kernel's
// connection tracking grants in the other modes (nf_conntrack_udp_timeout). kube-proxy's was 250 ms.
const udpIdleTimeout = 30 * time.Second

// largestPacket is more than the payload of any UDP packet, in bytes.
const largestPacket = 1 << 16

// udpSocket is a UDP socket. Its goroutine ends with close or the backend's context; each client has one more, which ends
// with the socket, the idle timeout or the endpoint.
type udpSocket struct {
	*servicePort
	scope scope
	conn  *net.UDPConn
	stop  func() bool

	mutex sync.Mutex
	flows map[netip.AddrPort]*udpFlow // by client
}

// udpFlow are the packets of one client, to one endpoint and back.
type udpFlow struct {
	client   netip.AddrPort
	endpoint netip.AddrPort
	conn     net.Conn // to the endpoint
	// source is the control message that makes answers come from the address that the client's packet was redirected to:
	// only then the kernel recognises them as answers.
	source []byte
}

// listenUDP opens a socket in the calling thread's network namespace.
func listenUDP(port *servicePort, scope scope, network string) (*udpSocket, error) {
	packets, err := net.ListenPacket(network, ":0")
	if err != nil {
		return nil, fmt.Errorf("open proxy port: %w", err)
	}
	conn := packets.(*net.UDPConn)
	if err := receiveDestinations(conn, network); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := &udpSocket{servicePort: port, scope: scope, conn: conn, flows: map[netip.AddrPort]*udpFlow{}}
	s.stop = context.AfterFunc(port.ctx, s.end)
	go s.receive()
	return s, nil
}

func (s *udpSocket) number() uint16 { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// keep ends the flows to other endpoints: the client of one that went would hear nothing for as long as it goes on sending.
func (s *udpSocket) keep(endpoints []netip.AddrPort) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, flow := range s.flows {
		if !slices.Contains(endpoints, flow.endpoint) {
			s.remove(flow)
		}
	}
}

func (s *udpSocket) close() {
	s.stop()
	s.end()
}

func (s *udpSocket) end() {
	s.conn.Close()
	s.keep(nil)
}

// remove ends a flow; its goroutine hears of it. The mutex is held.
func (s *udpSocket) remove(flow *udpFlow) {
	flow.conn.Close()
	if s.flows[flow.client] == flow {
		delete(s.flows, flow.client)
	}
}

func (s *udpSocket) receive() {
	packet, control := make([]byte, largestPacket), make([]byte, 128)
	for {
		n, controlled, _, client, err := s.conn.ReadMsgUDPAddrPort(packet, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			slog.Error("receive from a client", "service", s.name, "error", err)
			continue
		}
		flow, err := s.flow(client, control[:controlled])
		if err != nil {
			slog.Warn("no endpoint takes a packet", "service", s.name, "error", err)
			continue
		}
		if err := flow.send(packet[:n]); err != nil {
			s.fail(flow, err) // this packet is lost, as UDP's may be
		}
	}
}

// send sends a client's packet to the endpoint.
func (f *udpFlow) send(packet []byte) error {
	if _, err := f.conn.Write(packet); err != nil {
		return err
	}
	return f.conn.SetReadDeadline(time.Now().Add(udpIdleTimeout))
}

// fail ends a flow. The client of an endpoint that refused it gets the next one.
func (s *udpSocket) fail(flow *udpFlow, err error) {
	if errors.Is(err, unix.ECONNREFUSED) {
		s.balancer.forget(s.scope, flow.client.Addr().Unmap(), flow.endpoint)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.remove(flow)
}

// flow is that of the client, a new one if it has none.
func (s *udpSocket) flow(client netip.AddrPort, control []byte) (*udpFlow, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if flow := s.flows[client]; flow != nil {
		return flow, nil
	}
	endpoint, ok := s.balancer.pick(s.scope, client.Addr().Unmap(), nil)
	if !ok {
		return nil, errors.New("there is none")
	}
	source, err := answerFrom(control)
	if err != nil {
		return nil, err
	}
	conn, err := s.dial(s.ctx, "udp", endpoint.String())
	if err != nil {
		s.balancer.forget(s.scope, client.Addr().Unmap(), endpoint)
		return nil, err
	}
	flow := &udpFlow{client, endpoint, conn, source}
	s.flows[client] = flow
	go s.answer(flow)
	return flow, nil
}

// answer sends the endpoint's packets to the client until the flow ends.
func (s *udpSocket) answer(flow *udpFlow) {
	packet := make([]byte, largestPacket)
	for {
		n, err := flow.conn.Read(packet)
		if err == nil {
			_, _, err = s.conn.WriteMsgUDPAddrPort(packet[:n], flow.source, flow.client)
		}
		if err == nil {
			err = flow.conn.SetReadDeadline(time.Now().Add(udpIdleTimeout))
		}
		if err != nil {
			s.fail(flow, err)
			return
		}
	}
}

// receiveDestinations makes the socket tell with each packet which of the node's addresses it came to.
func receiveDestinations(conn *net.UDPConn, network string) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("receive the destinations of packets: %w", err)
	}
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var failure error
	err = raw.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err = errors.Join(err, failure); err != nil {
		return fmt.Errorf("receive the destinations of packets: %w", err)
	}
	return nil
}

// answerFrom turns the control message of a received packet into that of its answers, which may leave by any interface.
func answerFrom(control []byte) ([]byte, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("read the destination of a packet: %w", err)
	}
	for _, message := range messages {
		switch {
		case message.Header.Level == unix.IPPROTO_IP && message.Header.Type == unix.IP_PKTINFO && len(message.Data) >= 12:
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(message.Data[4:8])}), nil
		case message.Header.Level == unix.IPPROTO_IPV6 && message.Header.Type == unix.IPV6_PKTINFO && len(message.Data) >= 20:
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte(message.Data[:16])}), nil
		}
	}
	return nil, errors.New("read the destination of a packet: the kernel does not tell")
}
