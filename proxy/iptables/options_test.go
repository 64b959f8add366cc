package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/proxy/backend"
)

// Each option changes the rules that it is about, and no others.
func TestOptions(t *testing.T) {
	var text strings.Builder
	for _, family := range []backend.Options{nodeOptions, node6Options} {
		p := readPlan(t, "testdata/services.yaml", family.Family)
		usual := strings.Split((&fakeKernel{rules: fromScratchFor(t, p, layoutOf(family))}).String(), "\n")
		for _, option := range []struct {
			flag   string
			change func(*layout)
		}{
			{"--masquerade-all", func(l *layout) { l.MasqueradeAll = true }},
			{"--cluster-cidr=", func(l *layout) { l.ClusterCIDR = netip.Prefix{} }},
			{"--iptables-masquerade-bit=10", func(l *layout) { l.MasqueradeBit = 10 }},
			{"--iptables-localhost-nodeports=false", func(l *layout) { l.LocalhostNodePorts = false }},
			{"--nodeport-addresses=192.168.1.0/24,fd00:1::/64", func(l *layout) {
				l.NodePortAddresses = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fd00:1::/64")}
			}},
			{"sysctl nf_conntrack_tcp_be_liberal=1", func(l *layout) { l.keepInvalid = true }},
		} {
			l := layout{Options: family}
			option.change(&l)
			l.nodePorts = l.nodePortRules(family.NodeIPs)
			changed := strings.Split((&fakeKernel{rules: fromScratchFor(t, p, l)}).String(), "\n")
			fmt.Fprintf(&text, "# %s %s\n", family.Family, option.flag)
			for _, line := range usual {
				if !slices.Contains(changed, line) {
					fmt.Fprintf(&text, "< %s\n", line)
				}
			}
			for _, line := range changed {
				if !slices.Contains(usual, line) {
					fmt.Fprintf(&text, "> %s\n", line)
				}
			}
		}
	}
	checkGolden(t, "testdata/options.diff", text.String())
}

// Node ports on 127.0.0.1 need a network that holds it.
func TestNetnsNodePortAddresses(t *testing.T) {
	inNamespace(t, func() error {
		for _, test := range []struct {
			networks  string
			localhost bool
			nodePorts string
		}{
			{"192.0.2.0/24", false, ""},
			{"127.0.0.0/8", true, "-d 127.0.0.1/32 -m comment"},
			{"0.0.0.0/0", true, "-m comment"},
			{"fd00::/8", true, "-m comment"}, // none of IPv4: all
		} {
			options := nodeOptions
			options.NodePortAddresses = []netip.Prefix{netip.MustParsePrefix(test.networks)}
			l, err := newLayout(options)
			if err != nil {
				return err
			}
			if l.LocalhostNodePorts != test.localhost {
				t.Errorf("%s: localhost node ports %v", test.networks, l.LocalhostNodePorts)
			}
			if rules := strings.Join(l.nodePorts, "\n"); !strings.HasPrefix(rules, test.nodePorts) || test.nodePorts == "" && rules != "" {
				t.Errorf("%s: %q", test.networks, rules)
			}
		}
		return nil
	})
}
