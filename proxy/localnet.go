package proxy

import (
	"bytes"
	"fmt"
	"os"
)

// routeLocalnet is the sysctl of the calling thread's network namespace that lets 127.0.0.0/8 be routed, which node ports on
// 127.0.0.1 need. KUBE-FIREWALL closes what it opens.
const routeLocalnet = "/proc/sys/net/ipv4/conf/all/route_localnet"

func allowRouteLocalnet() error {
	current, err := os.ReadFile(routeLocalnet)
	if err != nil {
		return fmt.Errorf("read sysctl route_localnet: %w", err)
	}
	if bytes.Equal(bytes.TrimSpace(current), []byte("1")) {
		return nil
	}
	if err := os.WriteFile(routeLocalnet, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("set sysctl route_localnet: %w", err)
	}
	return nil
}
