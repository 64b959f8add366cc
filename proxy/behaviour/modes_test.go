package behaviour

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy"
	"github.com/kubelite/kubelite/proxy/ipvs"
)

// variant is a mode with what it is run with.
type variant struct {
	name string
	mode proxy.Mode
	// callers bounds the calls at a time from a place.
	callers int
	// multi is the program that iptables, ip6tables and their -save and -restore are; empty for the machine's choice.
	multi string
}

var variants = []variant{
	{name: "iptables-nft", callers: 40, mode: proxy.IPTables, multi: "xtables-nft-multi"},
	{name: "iptables-legacy", callers: 40, mode: proxy.IPTables, multi: "xtables-legacy-multi"},
	{name: "nftables", callers: 40, mode: proxy.NFTables},
	{name: "ipvs", callers: 40, mode: proxy.IPVS},
	// An endpoint that does not answer at once loses its client, as in kube-proxy: the calls are not to wait for one another.
	{name: "userspace", callers: 6, mode: proxy.Userspace},
}

// mayMove says whether a client whose connection took so long may have got another endpoint for that, session affinity or turns
// notwithstanding: in mode userspace an endpoint that takes no connection in 250 ms is passed over, as by kube-proxy's.
func (v variant) mayMove(took time.Duration) bool {
	return v.mode == proxy.Userspace && took > 200*time.Millisecond
}

// require skips what this kernel or machine cannot run, and says what is missing.
func (v variant) require(t testing.TB) {
	t.Helper()
	if missing := v.missing(); missing != "" {
		t.Skip(missing)
	}
}

// missing says what this kernel or machine lacks for the variant; empty for nothing.
func (v variant) missing() string {
	if v.mode == proxy.IPVS {
		if err := ipvs.Check(ipvs.DefaultScheduler); errors.Is(err, ipvs.ErrMissingModule) {
			return err.Error()
		}
	}
	if v.multi != "" {
		if _, err := exec.LookPath(v.multi); err != nil {
			return "the program " + v.multi + " is missing"
		}
	}
	return ""
}

// program is the path of a program as the variant's proxy finds it.
func (v variant) program(t testing.TB, name string) string {
	t.Helper()
	folder, _, _ := strings.Cut(strings.TrimPrefix(v.environment(t), "PATH="), string(os.PathListSeparator))
	if path := filepath.Join(folder, name); v.multi != "" {
		return path
	}
	return name
}

// config is the proxy's, without what is a node's own.
func (v variant) config() proxy.Config {
	return proxy.Config{
		Mode:          v.mode,
		ClusterCIDRs:  []netip.Prefix{clusterCIDR(corev1.IPv4Protocol), clusterCIDR(corev1.IPv6Protocol)},
		CheckInterval: 500 * time.Millisecond,
	}
}

// environment is the PATH on which the variant's iptables comes first.
func (v variant) environment(t testing.TB) string {
	t.Helper()
	path := os.Getenv("PATH")
	if v.multi == "" {
		return "PATH=" + path
	}
	multi, err := exec.LookPath(v.multi)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, end := range []string{"", "-save", "-restore"} {
			if err := os.Symlink(multi, filepath.Join(folder, name+end)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return "PATH=" + folder + string(os.PathListSeparator) + path
}

// expect is what must happen in this mode: what the documentation says, but for what a mode cannot do or does differently, which
// is all here.
func (v variant) expect(c testCase) expectation {
	e := expect(c)
	if v.mode == proxy.IPTables && c.client.isNode() && (c.way == externalIP || c.way == loadBalancerIP) && e.outcome == refused {
		// KUBE-EXTERNAL-SERVICES, which refuses what has no endpoints, is in INPUT and FORWARD but not in OUTPUT, as kube-proxy's:
		// what the node itself sends there leaves it as if there was no Service.
		return expectation{outcome: leftAlone}
	}
	if c.way == nodePortLocalhost && v.mode != proxy.IPTables {
		// Only iptables routes 127.0.0.1 (route_localnet); nftables and ipvs never do, as kube-proxy's do not (KEP-3866).
		if v.mode == proxy.Userspace && c.externalLocal && e.outcome != refused && len(c.usable(c.client)) == 0 {
			// What has no local endpoints is dropped at all of the node's own addresses.
			return expectation{outcome: unanswered}
		}
		e = expectation{outcome: refused}
	}
	if a := c.arrive(); v.mode == proxy.IPVS && c.externalLocal && c.way != clusterIP && e.outcome == answered && len(a.usable(a.node)) > 0 {
		// A virtual server has one list of destinations: clients inside the cluster get the local endpoints, as outside ones do, as with
		// kube-proxy's. Only where there is none, they get all.
		clear(e.sources)
		for _, endpoint := range a.usable(a.node) {
			e.sources[endpoint.place] = a.seenBy(endpoint.place, a.fromNode)
		}
	}
	if v.mode == proxy.Userspace {
		// The proxy itself is the endpoint's client: it sees the node, whoever asked and by whatever policy.
		a := c.arrive()
		a.fromPod, a.fromNode = false, true
		for endpoint := range e.sources {
			e.sources[endpoint] = a.seenBy(endpoint, true)
		}
	}
	if c.protocol == corev1.ProtocolSCTP && e.outcome == refused {
		e.outcome = unheard
	}
	return e
}
