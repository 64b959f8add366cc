package network

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// HostPort is a port of the node that leads to a Pod's.
type HostPort struct {
	HostIP                  string // empty, 0.0.0.0: every address of the node
	HostPort, ContainerPort int32
	Protocol                string // TCP, UDP or SCTP
}

// The chains are those of the CNI plugin portmap.
const (
	hostPortChain = "CNI-HOSTPORT-DNAT"
	setMarkChain  = "CNI-HOSTPORT-SETMARK"
	masqChain     = "CNI-HOSTPORT-MASQ"
	podPrefix     = "CNI-DN-"
	hostPortMark  = "0x2000/0x2000"
)

// podChain is the Pod's own chain.
func podChain(podUID string) string {
	sum := sha512.Sum512([]byte(podUID))
	return podPrefix + hex.EncodeToString(sum[:])[:21]
}

// rule is one rule of a chain of the nat table.
type rule struct {
	chain string
	match []string
}

// basicRules lead to the chains of this file, once a node:
//
//	-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT       (and OUTPUT)
//	-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
//	-A CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000
//	-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
func basicRules() []rule {
	local := []string{"-m", "addrtype", "--dst-type", "LOCAL", "-j", hostPortChain}
	return []rule{
		{setMarkChain, []string{"-m", "comment", "--comment", "CNI portfwd masquerade mark", "-j", "MARK", "--set-xmark", hostPortMark}},
		{masqChain, []string{"-m", "mark", "--mark", hostPortMark, "-j", "MASQUERADE"}},
		{"PREROUTING", local},
		{"OUTPUT", local},
		{"POSTROUTING", []string{"-m", "comment", "--comment", "CNI portfwd requiring masquerade", "-j", masqChain}},
	}
}

// loopbackRule takes back what route_localnet gives a Pod's link: a Pod must not reach what listens on the node's 127.0.0.1 only.
// It is the rule of kubelet's KUBE-FIREWALL, which is there in the service proxy's mode iptables alone.
var loopbackRule = []string{"!", "-s", "127.0.0.0/8", "-d", "127.0.0.0/8", "-m", "comment", "--comment", "kubelite: Pods do not reach the node's loopback",
	"-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED,DNAT", "-j", "DROP"}

// podRules are a Pod's. A Pod that calls its own host port, and the node itself by 127.0.0.1, must be masqueraded to get their answers:
//
//	-A CNI-DN-… -s 10.244.0.2/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
//	-A CNI-DN-… -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
//	-A CNI-DN-… -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.0.2:80
//	-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat pod UID" -m multiport --dports 8080 -j CNI-DN-…
func podRules(podUID string, address netip.Addr, ports []HostPort) []rule {
	var inside, towards []rule
	chain := podChain(podUID)
	for _, port := range ports {
		protocol := strings.ToLower(port.Protocol)
		number := strconv.Itoa(int(port.HostPort))
		match := []string{"-p", protocol}
		if host, err := netip.ParseAddr(port.HostIP); err == nil && !host.IsUnspecified() {
			match = append([]string{"-d", host.String()}, match...)
		}
		withPort := append(match[:len(match):len(match)], "-m", protocol, "--dport", number)
		for _, source := range []string{address.String(), "127.0.0.1"} {
			inside = append(inside, rule{chain, append(append([]string{"-s", source}, withPort...), "-j", setMarkChain)})
		}
		target := netip.AddrPortFrom(address, uint16(port.ContainerPort)).String()
		inside = append(inside, rule{chain, append(withPort[:len(withPort):len(withPort)], "-j", "DNAT", "--to-destination", target)})
		towards = append(towards, rule{hostPortChain, append(match[:len(match):len(match)],
			"-m", "comment", "--comment", "dnat pod "+podUID, "-m", "multiport", "--dports", number, "-j", chain)})
	}
	return append(inside, towards...)
}

// OpenHostPorts leads ports of the node to the Pod, until CloseHostPorts. No ports: nothing is done.
func (n *Node) OpenHostPorts(podUID string, address netip.Addr, ports []HostPort) error {
	if len(ports) == 0 {
		return nil
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	tables, err := openTables(iptables.ProtocolIPv4)
	if err != nil {
		return err
	}
	// Before the way is open, it is closed for what Pods send to it.
	if err := tables.InsertUnique("filter", "INPUT", 1, loopbackRule...); err != nil {
		return fmt.Errorf("keep Pods from the node's loopback: %w", err)
	}
	// 127.0.0.1 as a source may leave by the veth: it is masqueraded
	if err := writeSysctl("net/ipv4/conf/"+vethName(podUID)+"/route_localnet", "1"); err != nil {
		return err
	}
	for _, chain := range []string{hostPortChain, setMarkChain, masqChain} {
		if exists, err := tables.ChainExists("nat", chain); err != nil {
			return fmt.Errorf("look for chain %s: %w", chain, err)
		} else if !exists {
			if err := tables.NewChain("nat", chain); err != nil {
				return fmt.Errorf("make chain %s: %w", chain, err)
			}
		}
	}
	if err := tables.ClearChain("nat", podChain(podUID)); err != nil {
		return fmt.Errorf("make chain %s: %w", podChain(podUID), err)
	}
	for _, rule := range append(basicRules(), podRules(podUID, address, ports)...) {
		if err := tables.AppendUnique("nat", rule.chain, rule.match...); err != nil {
			return fmt.Errorf("open host port: chain %s: %w", rule.chain, errors.Join(err, closeHostPorts(tables, podChain(podUID))))
		}
	}
	return n.remember(iptables.ProtocolIPv4)
}

// CloseHostPorts removes what OpenHostPorts made for the Pod; nothing there is no error.
func (n *Node) CloseHostPorts(podUID string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	tables, err := openTables(iptables.ProtocolIPv4)
	if err != nil {
		return err
	}
	if err := closeHostPorts(tables, podChain(podUID)); err != nil {
		return err
	}
	if _, opened := n.rules[iptables.ProtocolIPv4][podChain(podUID)]; !opened {
		return nil
	}
	return n.remember(iptables.ProtocolIPv4)
}

func closeHostPorts(tables *iptables.IPTables, chain string) error {
	if exists, err := tables.ChainExists("nat", chain); err != nil || !exists {
		return err
	}
	rules, err := tables.List("nat", hostPortChain)
	if err != nil {
		return fmt.Errorf("list chain %s: %w", hostPortChain, err)
	}
	for i := len(rules) - 1; i >= 1; i-- { // by number, from the end; line 0 is the chain itself
		if strings.HasSuffix(rules[i], "-j "+chain) {
			if err := tables.DeleteById("nat", hostPortChain, i); err != nil {
				return fmt.Errorf("close host port: %w", err)
			}
		}
	}
	inside, err := tables.List("nat", chain)
	if err != nil {
		return fmt.Errorf("list chain %s: %w", chain, err)
	}
	if err := tables.ClearAndDeleteChain("nat", chain); err != nil {
		return fmt.Errorf("close host port: delete chain %s: %w", chain, err)
	}
	return forgetFlows(udpTargets(inside)) // after the rules: no new one is made
}

// reclaimHostPorts removes the chains of Pods that are not to be kept.
func reclaimHostPorts(keep map[string]bool) error {
	kept := map[string]bool{}
	for uid := range keep {
		kept[podChain(uid)] = true
	}
	tables, err := openTables(iptables.ProtocolIPv4)
	if err != nil {
		return err
	}
	chains, err := tables.ListChains("nat")
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	var failures []error
	for _, chain := range chains {
		if strings.HasPrefix(chain, podPrefix) && !kept[chain] {
			failures = append(failures, closeHostPorts(tables, chain))
		}
	}
	return errors.Join(failures...)
}
