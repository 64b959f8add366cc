package network

import (
	"fmt"
	"net/netip"

	"github.com/coreos/go-iptables/iptables"
)

const masqueradeChain = "KUBELITE-MASQ"

// masquerade hides Pods behind their node where a packet leaves the cluster, since nobody there has a route back:
//
//	-A POSTROUTING -m comment --comment "kubelite: Pods' way out of the cluster" -j KUBELITE-MASQ
//	-A KUBELITE-MASQ -s 10.244.0.0/24 ! -d 10.244.0.0/16 -o eth0 -m comment --comment "…" -j MASQUERADE
//
// A Service's packet has its endpoint as destination by then, and keeps the Pod's address.
func masquerade(podCIDR, clusterCIDR netip.Prefix, underlay string) error {
	tables, err := openTables(familyOf(podCIDR))
	if err != nil {
		return err
	}
	rule := []string{"-s", podCIDR.String(), "!", "-d", clusterCIDR.String()}
	if underlay != "" {
		rule = append(rule, "-o", underlay)
	} else {
		rule = append(rule, "!", "-o", "veth+")
	}
	rule = append(rule, "-m", "comment", "--comment", "hide Pods where they leave the cluster", "-j", "MASQUERADE")
	if !holdsOnly(tables, rule) { // after a restart it does, and Pods do not notice
		if err := tables.ClearChain("nat", masqueradeChain); err != nil { // made if it is missing
			return fmt.Errorf("make chain %s: %w", masqueradeChain, err)
		}
		if err := tables.Append("nat", masqueradeChain, rule...); err != nil {
			return fmt.Errorf("masquerade %s: %w", podCIDR, err)
		}
	}
	jump := []string{"-m", "comment", "--comment", "kubelite: Pods' way out of the cluster", "-j", masqueradeChain}
	if err := tables.AppendUnique("nat", "POSTROUTING", jump...); err != nil {
		return fmt.Errorf("masquerade %s: %w", podCIDR, err)
	}
	return nil
}

// holdsOnly says whether the chain is as it should be; one that cannot be read is not.
func holdsOnly(tables *iptables.IPTables, rule []string) bool {
	rules, err := tables.List("nat", masqueradeChain)
	if err != nil || len(rules) != 2 { // the first line is the chain itself
		return false
	}
	exists, err := tables.Exists("nat", masqueradeChain, rule...)
	return err == nil && exists
}

func familyOf(prefix netip.Prefix) iptables.Protocol {
	if prefix.Addr().Is6() {
		return iptables.ProtocolIPv6
	}
	return iptables.ProtocolIPv4
}

// programOf is what the names of a family's programs begin with.
func programOf(family iptables.Protocol) string {
	if family == iptables.ProtocolIPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// openTables waits for the lock of other programs' iptables, the service proxy's among them.
func openTables(family iptables.Protocol) (*iptables.IPTables, error) {
	tables, err := iptables.New(iptables.IPFamily(family), iptables.Timeout(30))
	if err != nil {
		return nil, fmt.Errorf("find iptables: %w", err)
	}
	return tables, nil
}
