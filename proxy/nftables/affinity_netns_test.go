package nftables

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

// Of many clients those are forgotten whose endpoint goes, and no others; where no endpoint goes, nobody looks at them.
func TestNetnsManyClients(t *testing.T) {
	const clients, seconds = 4 * forgetAtOnce, 3600
	endpoints := []plan.Endpoint{
		{AddrPort: netip.MustParseAddrPort("10.244.0.1:80")}, {AddrPort: netip.MustParseAddrPort("10.244.0.2:80")}, {AddrPort: netip.MustParseAddrPort("10.244.0.3:80")},
	}
	service := func(endpoints []plan.Endpoint) plan.Plan {
		return plan.Plan{serviceName(1): {{Protocol: corev1.ProtocolTCP, ClusterIP: netip.MustParseAddr("10.96.0.1"), Port: 80,
			AffinitySeconds: seconds, Cluster: endpoints, HasEndpoints: true}}}
	}
	inNamespace(t, func() error {
		made, err := program(nodeOptions, service(endpoints[:2]))
		if err != nil {
			return err
		}
		known := newBatch(made.layout, tableName, 0)
		for n := range clients {
			m := memory{timeout: binary.BigEndian.AppendUint64(nil, seconds*1000), expiration: binary.BigEndian.AppendUint64(nil, seconds*1000)}
			m.set = affinity
			copy(m.bytes[:], []byte{203, 0, byte(n >> 8), byte(n), 10, 96, 0, 1, protocolTCP, 0, 0, 0, 0, 80})
			m.data = endpointData(endpoints[n%2].AddrPort)
			known.addMemory(m)
		}
		// One that no change will ever make stale: it is deleted only where somebody looks.
		stray := memory{}
		stray.set = affinity
		copy(stray.bytes[:], []byte{203, 0, 255, 255, 10, 96, 0, 2, protocolTCP, 0, 0, 0, 0, 80})
		known.addMemory(stray)
		if err := commit(made.connection, known); err != nil {
			return err
		}
		for _, step := range []struct {
			about    string
			next     plan.Plan
			expected int
		}{
			{"an endpoint more", service(endpoints), clients + 1},
			{"an endpoint less", service(endpoints[1:]), clients / 2},
		} {
			if err := made.Update(background, step.next); err != nil {
				return err
			}
			count := 0
			if err := made.connection.readSet(made.layout, affinity, func(element, []byte) error { count++; return nil }); err != nil {
				return err
			}
			if count != step.expected {
				t.Errorf("%s: %d clients are remembered, expected %d", step.about, count, step.expected)
			}
		}
		return nil
	})
}
