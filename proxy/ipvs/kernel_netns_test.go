package ipvs

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/backend"
)

// in runs f in a new network namespace with a node's link.
func in(t *testing.T, f func() error) {
	t.Helper()
	err := netns.Do(netnstest.New(t), func() error {
		for _, command := range []string{
			"ip link set lo up", "ip link add eth0 type veth peer name peer0", "ip link set eth0 up", "ip link set peer0 up",
			"ip address add 192.168.1.2/24 dev eth0", "ip address add fd00:c0::2/64 dev eth0 nodad",
			"ip route add default via 192.168.1.1", "ip route add 10.244.1.0/24 via 192.168.1.3", "ip route add default via fd00:c0::1",
		} {
			if _, err := run(command); err != nil {
				return err
			}
		}
		return f()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func run(command string) (string, error) {
	words := strings.Fields(command)
	output, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return "", errors.New(command + ": " + err.Error() + ": " + string(output))
	}
	return string(output), nil
}

var bothFamilies = []backend.Options{
	testOptions,
	{Family: corev1.IPv6Protocol, ClusterCIDR: netip.MustParsePrefix("fd00:f4::/48"), MasqueradeBit: 14},
	{Family: corev1.IPv4Protocol, MasqueradeBit: 3},
	{Family: corev1.IPv6Protocol, MasqueradeAll: true, MasqueradeBit: 14},
}

// What is written is what is read back, a second time nothing is written, and Cleanup leaves nothing.
func TestNetnsRules(t *testing.T) {
	for _, options := range bothFamilies {
		in(t, func() error {
			k, err := openWithoutIPVS(options)
			if err != nil {
				return err
			}
			defer k.close()
			if err := errors.Join(k.makeLink(), k.makeSets(), k.makeSets()); err != nil {
				return err
			}
			for range 2 {
				if err := k.writeRules(t.Context()); err != nil {
					return err
				}
				text, err := k.rules(t.Context())
				if err != nil {
					return err
				}
				if text != ruleText(options) {
					t.Errorf("rules are %s", firstDifference(ruleText(options), text))
				}
			}
			if err := errors.Join(Cleanup(t.Context()), Cleanup(t.Context())); err != nil {
				return err
			}
			for _, command := range []string{"iptables-save", "ip6tables-save", "ip link"} {
				left, err := run(command)
				if err != nil {
					return err
				}
				if strings.Contains(left, "KUBE-") || strings.Contains(left, linkName) {
					t.Errorf("%s prints after Cleanup:\n%s", command, left)
				}
			}
			sets, err := netlink.IpsetListAll()
			if len(sets) > 0 {
				t.Errorf("sets after Cleanup: %v", sets)
			}
			return err
		})
	}
}

func TestNetnsEntries(t *testing.T) {
	for _, options := range bothFamilies[:2] {
		address, source := netip.MustParseAddr("10.96.0.10"), netip.MustParsePrefix("192.168.0.0/16")
		if options.Family == corev1.IPv6Protocol {
			address, source = netip.MustParseAddr("fd00:60::10"), netip.MustParsePrefix("fd00:c0::/64")
		}
		in(t, func() error {
			k, err := openWithoutIPVS(options)
			if err != nil {
				return err
			}
			defer k.close()
			if err := k.makeSets(); err != nil {
				return err
			}
			for _, s := range allSets {
				e := entry{set: s, address: address, port: 80, protocol: corev1.ProtocolSCTP}
				switch s.kind {
				case hashIP:
					e = entry{set: s, address: address}
				case bitmapPort:
					e = entry{set: s, port: 80}
				case hashIPPortIP:
					e.source = host(address)
				case hashIPPortNet:
					e.source = source
				}
				if err := k.addEntry(e); err != nil {
					return err
				}
				if err := k.addEntry(e); err == nil {
					t.Errorf("entry %s was added twice", e)
				}
				all, err := k.entries(s)
				if err != nil {
					return err
				}
				if len(all) != 1 || !all[e] {
					t.Errorf("set %s holds %v instead of %s", s.name, slices.Collect(maps.Keys(all)), e)
				}
				if err := k.deleteEntry(e); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func TestNetnsAddresses(t *testing.T) {
	for i, options := range bothFamilies[:2] {
		in(t, func() error {
			k, err := openWithoutIPVS(options)
			if err != nil {
				return err
			}
			defer k.close()
			if err := errors.Join(k.makeLink(), k.makeLink()); err != nil {
				return err
			}
			service := addresses("10.96.0.10", "fd00:60::10")[i]
			if err := k.addAddress(service); err != nil {
				return err
			}
			held, node, err := k.addresses()
			if err != nil {
				return err
			}
			if len(held) != 1 || !held[service] {
				t.Errorf("the link holds %v", held)
			}
			if !slices.Equal(node.addresses, [][]netip.Addr{addresses("192.168.1.2"), addresses("fd00:c0::2")}[i]) ||
				!slices.Equal(node.gateways, [][]netip.Addr{addresses("192.168.1.1", "192.168.1.3"), addresses("fd00:c0::1")}[i]) {
				t.Errorf("the node has %+v", node)
			}
			broadcasts, err := k.broadcasts()
			if err != nil {
				return err
			}
			if !slices.Equal(broadcasts, [][]netip.Addr{addresses("127.255.255.255", "192.168.1.255"), nil}[i]) {
				t.Errorf("the networks' broadcast addresses are %v", broadcasts)
			}
			// The link is down, and still the address is the node's own.
			route, err := run("ip route get " + service.String())
			if err != nil {
				return err
			}
			if !strings.HasPrefix(route, "local ") {
				t.Errorf("the route is %s", route)
			}
			return k.deleteAddress(service)
		})
	}
}

// What is sent to a Service's address but to none of its ports is refused, also where the node itself would answer.
func TestNetnsAccessFilter(t *testing.T) {
	in(t, func() error {
		k, err := openWithoutIPVS(testOptions)
		if err != nil {
			return err
		}
		defer k.close()
		listener, err := net.Listen("tcp4", ":22")
		if err != nil {
			return err
		}
		defer listener.Close()
		service := netip.MustParseAddr("10.96.0.10")
		if err := errors.Join(k.makeLink(), k.makeSets(), k.addAddress(service)); err != nil {
			return err
		}
		dial := func() error {
			conn, err := net.DialTimeout("tcp4", "10.96.0.10:22", 10*time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		}
		if err := dial(); err != nil {
			t.Errorf("without rules: %v", err)
		}
		if err := errors.Join(k.addEntry(entry{set: ipvsIPs, address: service}), k.writeRules(t.Context())); err != nil {
			return err
		}
		if err := dial(); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("the node's SSH server at a Service's address: %v, expected a refusal", err)
		}
		return nil
	})
}

func TestNetnsCheck(t *testing.T) {
	in(t, func() error {
		if err := Check("unknown"); err == nil || errors.Is(err, ErrMissingModule) {
			t.Errorf("a scheduler that does not exist: %v", err)
		}
		if err := Check(""); err != nil && !errors.Is(err, ErrMissingModule) {
			t.Errorf("a kernel without IPVS: %v", err)
		}
		return nil
	})
}
