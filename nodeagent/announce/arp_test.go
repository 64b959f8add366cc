package announce

import (
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
)

var (
	hardware = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}
	asker    = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x0a}
	vip      = netip.MustParseAddr("192.168.1.200")
	laptop   = netip.MustParseAddr("192.168.1.10")
)

func TestFrames(t *testing.T) {
	request := arp{operation: operationRequest, senderHardware: asker, sender: laptop, targetHardware: make(net.HardwareAddr, 6), target: vip}
	tests := map[string]struct {
		frame []byte
		want  string
	}{
		"request": {request.frame(broadcast),
			"ffffffffffff" + "02000000000a" + "0806" + "0001080006040001" + "02000000000a" + "c0a8010a" + "000000000000" + "c0a801c8"},
		"answer": {answer(request, hardware),
			"02000000000a" + "020000000001" + "0806" + "0001080006040002" + "020000000001" + "c0a801c8" + "02000000000a" + "c0a8010a"},
		"gratuitous": {gratuitous(vip, hardware),
			"ffffffffffff" + "020000000001" + "0806" + "0001080006040001" + "020000000001" + "c0a801c8" + "000000000000" + "c0a801c8"},
	}
	for name, test := range tests {
		if got := hex.EncodeToString(test.frame); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
	parsed, err := parseFrame(request.frame(broadcast))
	if err != nil || parsed.operation != operationRequest || parsed.sender != laptop || parsed.target != vip || parsed.senderHardware.String() != asker.String() {
		t.Errorf("parsed %+v, %v", parsed, err)
	}
}

func TestOtherFramesAreRefused(t *testing.T) {
	good := gratuitous(vip, hardware)
	for name, change := range map[string]func(frame []byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut":          func(frame []byte) []byte { return frame[:frameLength-1] },
		"IPv4":         func(frame []byte) []byte { frame[13] = 0; return frame },
		"not Ethernet": func(frame []byte) []byte { frame[15] = 6; return frame },
		"long address": func(frame []byte) []byte { frame[18] = 8; return frame },
	} {
		if parsed, err := parseFrame(change(append([]byte{}, good...))); err == nil {
			t.Errorf("%s: parsed as %+v", name, parsed)
		}
	}
}
