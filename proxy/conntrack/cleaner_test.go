package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/plan"
)

// What went wrong is tried again until it goes well, and says then what is true then.
func TestWhatWentWrongIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCleaner(corev1.IPv4Protocol)
		served := func(clusterIP, endpoint string) {
			c.Changed([]plan.Port{{Protocol: corev1.ProtocolUDP, ClusterIP: netip.MustParseAddr(clusterIP), Port: 53,
				Cluster: []plan.Endpoint{{AddrPort: netip.MustParseAddrPort(endpoint)}}}}, nil)
		}
		var tries []string
		c.deleteStale = func(_ corev1.IPFamily, services Services) (int, error) {
			tries = append(tries, fmt.Sprint(services.endpoints))
			switch len(tries) {
			case 1:
				served("10.96.0.1", "10.244.0.3:53")
				return 0, errors.New("results may be incomplete or inconsistent")
			case 2:
				return 0, errors.New("results may be incomplete or inconsistent")
			}
			return 0, nil
		}
		served("10.96.0.1", "10.244.0.2:53")
		served("10.96.0.2", "10.244.0.4:53")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Run(ctx, ""); err != nil {
			t.Fatal(err)
		}
		const before = "map[10.96.0.1:53:[10.244.0.2:53] 10.96.0.2:53:[10.244.0.4:53]]"
		const after = "map[10.96.0.1:53:[10.244.0.3:53] 10.96.0.2:53:[10.244.0.4:53]]"
		if expected := []string{before, after, after}; fmt.Sprint(tries) != fmt.Sprint(expected) {
			t.Errorf("%q, expected %q", tries, expected)
		}
	})
}
