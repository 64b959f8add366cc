package cluster

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/proxy"
	"github.com/kubelite/kubelite/proxy/ipvs"
)

func testConfig(name string) Config {
	config := DefaultConfig(lab.DefaultNetwork(name, 2))
	config.Uplink, config.APIPort = "off", 6443
	return config
}

func TestValidateConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string // empty: no error
	}{
		{"the default", func(*Config) {}, ""},
		{"any free port", func(c *Config) { c.APIPort = 0 }, ""},
		{"resolver by address", func(c *Config) { c.DNSUpstream = "10.0.0.1" }, ""},
		{"resolver by address and port", func(c *Config) { c.DNSUpstream = "10.0.0.1:5353" }, ""},
		{"resolver by name", func(c *Config) { c.DNSUpstream = "dns.example.org:53" }, ""},
		{"port too high", func(c *Config) { c.APIPort = 70000 }, "--api-port 70000: use a port from 1 to 65535"},
		{"port below zero", func(c *Config) { c.APIPort = -1 }, "--api-port -1: use a port from 1 to 65535"},
		{"uplink", func(c *Config) { c.Uplink = "on" }, `--uplink "on": use auto or off`},
		{"proxy mode", func(c *Config) { c.ProxyMode = "ebpf" }, `--proxy-mode "ebpf": use one of [iptables nftables ipvs userspace]`},
		{"scheduler", func(c *Config) { c.IPVSScheduler = "fair" }, `--ipvs-scheduler "fair": use one of [rr wrr`},
		{"load balancer", func(c *Config) { c.LoadBalancer = "cloud" }, `--load-balancer "cloud": use pool or node`},
		{"domain", func(c *Config) { c.ClusterDomain = "Bad_Domain" }, `--cluster-domain "Bad_Domain": a lowercase RFC 1123 subdomain`},
		{"resolver", func(c *Config) { c.DNSUpstream = "garbage" }, `--dns-upstream "garbage": write HOST:PORT`},
		{"resolver's port", func(c *Config) { c.DNSUpstream = "10.0.0.1:0" }, `--dns-upstream "10.0.0.1:0": write HOST:PORT`},
		{"reserved name", func(c *Config) { c.Network.Cluster = "images" }, `"images" cannot be a cluster's name`},
		{"two at once", func(c *Config) { c.APIPort, c.Network.Nodes = 70000, 0 }, "--nodes 0: a cluster has at least one node\n--api-port 70000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := testConfig("test")
			test.change(&config)
			err := config.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("it says %v, want %q", err, test.want)
			}
		})
	}
}

func TestRefuseChanges(t *testing.T) {
	c := &Cluster{testConfig("test")}
	for _, test := range []struct {
		name   string
		asked  string
		change func(*Config)
		want   string
	}{
		{"nothing", "", func(c *Config) { c.Seed = 5 }, ""},
		{"the same again", "seed", func(*Config) {}, ""},
		{"seed", "seed", func(c *Config) { c.Seed = 5 }, `--seed 5: cluster "test" exists with "0"`},
		{"nodes", "nodes", func(c *Config) { c.Network.Nodes = 3 }, `--nodes 3: cluster "test" exists with "2"`},
		{"port", "api-port", func(c *Config) { c.APIPort = 7000 }, `--api-port 7000: cluster "test" exists with "6443"`},
		{"resolver", "dns-upstream", func(c *Config) { c.DNSUpstream = "10.0.0.1:53" }, `--dns-upstream 10.0.0.1:53: cluster "test" exists with ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			wanted := testConfig("test")
			test.change(&wanted)
			err := c.refuseChanges(wanted, func(flag string) bool { return flag == test.asked })
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			remedy := "`kubelite down --purge --name test`"
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), remedy) {
				t.Errorf("it says %v, want %q and %s", err, test.want, remedy)
			}
		})
	}
}

// A running cluster keeps what it has where the kernel cannot do what it is to become.
func TestChangeChecksKernel(t *testing.T) {
	for _, test := range []struct {
		asked     string
		mode      proxy.Mode
		scheduler string
	}{
		{"proxy-mode", proxy.NFTables, "rr"},
		{"proxy-mode", proxy.IPVS, "rr"},
		{"ipvs-scheduler", proxy.IPVS, "lc"},
		{"", proxy.IPVS, "rr"}, // as after a boot of another kernel
	} {
		c := &Cluster{testConfig("test")}
		wanted := testConfig("test")
		if test.asked == "proxy-mode" {
			wanted.ProxyMode = test.mode
		} else {
			c.ProxyMode, wanted.IPVSScheduler = test.mode, test.scheduler
		}
		var want error
		if test.mode == proxy.IPVS {
			want = ipvs.Check(test.scheduler)
		}
		changed, err := c.change(wanted, func(flag string) bool { return flag == test.asked })
		if (err == nil) != (want == nil) || changed != (test.asked != "") {
			t.Errorf("%+v: changed %t, %v, want %v", test, changed, err, want)
		}
	}
}

// TestParseConfig reads what is left of a cluster.json. One that names no cluster would be about all clusters' folders.
func TestParseConfig(t *testing.T) {
	good, err := (&Cluster{testConfig("test")}).encode()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := parse("test", good); err != nil || c.Config != testConfig("test") {
		t.Errorf("a good one is read as %v, %v", c, err)
	}
	for name, damaged := range map[string]string{
		"empty":           "",
		"cut short":       string(good[:len(good)/2]),
		"zeros":           strings.Repeat("\x00", len(good)),
		"an empty object": "{}",
		"null":            "null",
		"another's":       strings.Replace(string(good), `"test"`, `"other"`, 1),
		"wrong type":      strings.Replace(string(good), `"nodes": 2`, `"nodes": "two"`, 1),
		"no nodes":        strings.Replace(string(good), `"nodes": 2`, `"nodes": 0`, 1),
		"bad address":     strings.Replace(string(good), "192.168.1.10", "192.168.1", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse("test", []byte(damaged))
			if err == nil || !strings.Contains(err.Error(), "/var/lib/kubelite/test/cluster.json is damaged") ||
				!strings.Contains(err.Error(), "`kubelite down --purge --name test`") {
				t.Errorf("it is read as %v, %v", c, err)
			}
		})
	}
}

func TestLoadUnknown(t *testing.T) {
	if _, err := Load("no-such-cluster"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it says %v", err)
	}
	if err := Down("no-such-cluster"); !errors.Is(err, ErrNotFound) {
		t.Errorf("down says %v", err)
	}
	if _, err := os.Stat(dir("no-such-cluster")); err == nil {
		t.Error("down made a folder")
	}
}

func TestFreePort(t *testing.T) {
	first := freePort(20000, nil)
	if next := freePort(20000, map[int]bool{first: true}); next == first {
		t.Errorf("port %d was given twice", first)
	}
}
