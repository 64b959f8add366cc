package lab

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
)

func TestNetnsDualStack(t *testing.T) {
	n := DefaultNetwork(fmt.Sprintf("test-dual-%d", os.Getpid()), 2)
	n.DualStack = true
	connected(t, build(t, n))
	if err := n.Build(); err != nil { // again, over what is there
		t.Error(err)
	}
}

func TestIPv6Of(t *testing.T) {
	n := DefaultNetwork("kubelite", 1)
	for ipv4, ipv6 := range map[string]string{
		"192.168.1.1": "fd00:192:168:1::1", "192.168.1.10": "fd00:192:168:1::10", "192.168.1.250": "fd00:192:168:1::250",
	} {
		if got := n.ipv6Of(netip.MustParseAddr(ipv4)).String(); got != ipv6 {
			t.Errorf("%s comes with %s, want %s", ipv4, got, ipv6)
		}
	}
}
