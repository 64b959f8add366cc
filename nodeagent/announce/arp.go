package announce

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
)

const (
	etherTypeARP = 0x0806
	frameLength  = 14 + 28

	operationRequest = 1
	operationReply   = 2
)

// errNotARP is returned for frames that are no ARP for IPv4 over Ethernet.
var errNotARP = errors.New("not an ARP frame for IPv4 over Ethernet")

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arp is an ARP message for IPv4 over Ethernet (RFC 826).
type arp struct {
	operation      uint16
	senderHardware net.HardwareAddr
	sender         netip.Addr
	targetHardware net.HardwareAddr
	target         netip.Addr
}

// parseFrame reads an Ethernet frame. Hardware addresses share its memory.
func parseFrame(frame []byte) (arp, error) {
	if len(frame) < frameLength || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return arp{}, errNotARP
	}
	body := frame[14:frameLength]
	// Ethernet, IPv4, six and four bytes long.
	if binary.BigEndian.Uint64(body)>>16 != 0x0001_0800_0604 {
		return arp{}, errNotARP
	}
	return arp{
		operation:      binary.BigEndian.Uint16(body[6:]),
		senderHardware: net.HardwareAddr(body[8:14]),
		sender:         netip.AddrFrom4([4]byte(body[14:18])),
		targetHardware: net.HardwareAddr(body[18:24]),
		target:         netip.AddrFrom4([4]byte(body[24:28])),
	}, nil
}

// frame is the message as an Ethernet frame to the given station.
func (m arp) frame(destination net.HardwareAddr) []byte {
	frame := make([]byte, 0, frameLength)
	frame = append(frame, destination...)
	frame = append(frame, m.senderHardware...)
	frame = binary.BigEndian.AppendUint16(frame, etherTypeARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4)
	frame = binary.BigEndian.AppendUint16(frame, m.operation)
	frame = append(frame, m.senderHardware...)
	frame = append(frame, m.sender.AsSlice()...)
	frame = append(frame, m.targetHardware...)
	return append(frame, m.target.AsSlice()...)
}

// answer is the reply to a request, from the station with the hardware address.
func answer(request arp, hardware net.HardwareAddr) []byte {
	reply := arp{
		operation: operationReply, senderHardware: hardware, sender: request.target,
		targetHardware: request.senderHardware, target: request.sender,
	}
	return reply.frame(request.senderHardware)
}

// gratuitous tells every station who has the address now (RFC 5227 §2.3: a broadcast request by and for the address).
func gratuitous(address netip.Addr, hardware net.HardwareAddr) []byte {
	message := arp{
		operation: operationRequest, senderHardware: hardware, sender: address,
		targetHardware: make(net.HardwareAddr, 6), target: address,
	}
	return message.frame(broadcast)
}
