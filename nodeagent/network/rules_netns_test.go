package network

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"
)

func TestNetnsRulesAreMended(t *testing.T) {
	inNode(t, func() error {
		node := newNode(t)
		node.config.ClusterCIDRs = append(node.config.ClusterCIDRs, netip.MustParsePrefix("fd00:10:244::/56"))
		if err := node.Setup(netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00:10:244::/64")); err != nil {
			return err
		}
		// A Pod's host port, without the Pod.
		for _, rule := range append(basicRules(), podRules("uid-1", netip.MustParseAddr("10.244.0.2"), []HostPort{{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"}})...) {
			for _, chain := range []string{rule.chain, rule.match[len(rule.match)-1]} {
				if ownChain(chain) {
					_ = exec.Command("iptables", "-t", "nat", "-N", chain).Run() // it may be there
				}
			}
			if output, err := exec.Command("iptables", append([]string{"-t", "nat", "-A", rule.chain}, rule.match...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", rule, err, output)
			}
		}
		node.mutex.Lock()
		err := node.remember(iptables.ProtocolIPv4)
		node.mutex.Unlock()
		if err != nil {
			return err
		}
		for _, family := range []iptables.Protocol{iptables.ProtocolIPv4, iptables.ProtocolIPv6} {
			if err := mendsDamage(t, node, family); err != nil {
				return err
			}
		}
		return errors.Join(node.CloseHostPorts("uid-1"), keptClosed(node))
	})
}

// mendsDamage does damage to a family's rules, and looks whether the node mends it.
func mendsDamage(t *testing.T, node *Node, family iptables.Protocol) error {
	want, err := saveNAT(family)
	if err != nil {
		return err
	}
	cases := map[string]struct{ damage []string }{
		"nothing":          {},
		"a rule":           {[]string{"-t nat -D KUBELITE-MASQ 1"}},
		"an added rule":    {[]string{"-t nat -I KUBELITE-MASQ -j RETURN"}},
		"a jump":           {[]string{"-t nat -D POSTROUTING 1"}},
		"everything":       {[]string{"-t nat -F", "-t nat -X"}},
		"another's change": {[]string{"-t nat -A PREROUTING -i lo -j ACCEPT", "-t nat -D PREROUTING -i lo -j ACCEPT"}},
	}
	for name, c := range cases {
		name = programOf(family) + ", " + name
		for _, damage := range c.damage {
			if output, err := exec.Command(programOf(family), strings.Fields(damage)...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %s: %v: %s", name, damage, err, output)
			}
		}
		found, err := node.mend()
		if err != nil {
			return err
		}
		if expected := len(c.damage) > 0 && !strings.HasSuffix(name, "another's change"); strings.HasPrefix(found, programOf(family)+": chain ") != expected {
			t.Errorf("%s: found %q", name, found)
		}
		if again, err := node.mend(); again != "" || err != nil {
			t.Errorf("%s: found %q the second time, error %v", name, again, err)
		}
		got, err := saveNAT(family)
		if err != nil {
			return err
		}
		if input, difference := mending(ownRules(want), ownRules(got)); difference != "" {
			t.Errorf("%s: %s\n%s", name, difference, input)
		}
	}
	return nil
}

// keptClosed checks that a host port that was closed is not opened again.
func keptClosed(node *Node) error {
	found, err := node.mend()
	if err == nil && found != "" {
		err = errors.New("after a host port was closed: " + found)
	}
	if _, open := node.rules[iptables.ProtocolIPv4][podChain("uid-1")]; open {
		err = errors.Join(err, errors.New("the closed host port is remembered"))
	}
	return err
}
