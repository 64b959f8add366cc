package iptables

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// routeLocalnet is the sysctl of the calling thread's network namespace that lets 127.0.0.0/8 be routed, which node ports on
// 127.0.0.1 need.
const routeLocalnet = "/proc/sys/net/ipv4/conf/all/route_localnet"

// AllowRouteLocalnet makes node ports on 127.0.0.1 possible. Neighbours can reach what listens on 127.0.0.1 only from then on, until
// KUBE-FIREWALL takes that away, which a Backend with LocalhostNodePorts writes. Cleanup sets it
// back, and so does a Backend without.
func AllowRouteLocalnet() error { return setRouteLocalnet("1") }

func setRouteLocalnet(value string) error {
	current, err := os.ReadFile(routeLocalnet)
	if err != nil {
		return fmt.Errorf("read sysctl route_localnet: %w", err)
	}
	if string(bytes.TrimSpace(current)) == value {
		return nil
	}
	if err := os.WriteFile(routeLocalnet, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl route_localnet to %s: %w", value, err)
	}
	return nil
}

// closeLocalnet sets the sysctl back where the mode's KUBE-FIREWALL is all that keeps neighbours from what listens on 127.0.0.1 only. It
// comes before that goes.
func closeLocalnet(kernel *snapshot) error {
	if belongsToKubelet(filterFirewall, kernel) || !strings.Contains(strings.Join(kernel.rules[filterFirewall], "\n"), localnetComment) {
		return nil
	}
	return setRouteLocalnet("0")
}
