package network

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

func TestNetnsRulesAreMended(t *testing.T) {
	inNode(t, func() error {
		node := newNode(t)
		if err := node.Setup(netip.MustParsePrefix("10.244.0.0/24")); err != nil {
			return err
		}
		iptables := func(arguments string) {
			t.Helper()
			if output, err := exec.Command("iptables", strings.Fields(arguments)...).CombinedOutput(); err != nil {
				t.Fatalf("iptables %s: %v: %s", arguments, err, output)
			}
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
		err := node.remember()
		node.mutex.Unlock()
		if err != nil {
			return err
		}
		want, err := saveNAT()
		if err != nil {
			return err
		}
		cases := map[string]struct{ damage []string }{
			"nothing":          {},
			"a rule":           {[]string{"-t nat -D KUBELITE-MASQ 1"}},
			"an added rule":    {[]string{"-t nat -I KUBELITE-MASQ -j RETURN"}},
			"a jump":           {[]string{"-t nat -D POSTROUTING 1"}},
			"everything":       {[]string{"-t nat -F", "-t nat -X"}},
			"another's change": {[]string{"-t nat -A PREROUTING -d 203.0.113.1 -j ACCEPT", "-t nat -D PREROUTING -d 203.0.113.1 -j ACCEPT"}},
		}
		for name, c := range cases {
			for _, damage := range c.damage {
				iptables(damage)
			}
			found, err := node.mend()
			if err != nil {
				return err
			}
			if expected := len(c.damage) > 0 && name != "another's change"; (found != "") != expected {
				t.Errorf("%s: found %q", name, found)
			}
			if again, err := node.mend(); again != "" || err != nil {
				t.Errorf("%s: found %q the second time, error %v", name, again, err)
			}
			got, err := saveNAT()
			if err != nil {
				return err
			}
			if input, difference := mending(ownRules(want), ownRules(got)); difference != "" {
				t.Errorf("%s: %s\n%s", name, difference, input)
			}
		}
		return errors.Join(node.CloseHostPorts("uid-1"), keptClosed(node))
	})
}

// keptClosed checks that a host port that was closed is not opened again.
func keptClosed(node *Node) error {
	found, err := node.mend()
	if err == nil && found != "" {
		err = errors.New("after a host port was closed: " + found)
	}
	if _, open := node.rules[podChain("uid-1")]; open {
		err = errors.Join(err, errors.New("the closed host port is remembered"))
	}
	return err
}
