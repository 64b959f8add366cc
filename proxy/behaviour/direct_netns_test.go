package behaviour

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy"
)

// Before any Service: every place in the cluster reaches every endpoint directly, and is seen with its own address by Pods.
func TestNetnsLab(t *testing.T) {
	l := newLab(t)
	protocols := servedProtocols(proxy.IPTables)
	l.serveEverywhere(protocols)
	for _, client := range []place{pod1a, pod1b, pod2b, node1} {
		for _, server := range []place{pod1a, pod2a, node1, node2} {
			for _, protocol := range protocols {
				for _, family := range families {
					l.eventually(client, func() error {
						got, err := call(protocol, netip.AddrPortFrom(server.address(family), endpointPort), slowly(patience))
						if err == nil && got.endpoint != server {
							err = fmt.Errorf("%s calls %s by %s: %s", client, server, protocol, got)
						}
						if err == nil && client.isPod() && server.isPod() && got.source != client.address(family) {
							t.Errorf("%s calls %s by %s: %s", client, server, protocol, got)
						}
						return err
					})
				}
			}
		}
	}
}
