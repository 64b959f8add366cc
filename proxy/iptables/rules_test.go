package iptables

import (
	"flag"
	"github.com/kubelite/kubelite/proxy/backend"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

var rewriteGolden = flag.Bool("update", false, "write the golden files anew")

var nodeOptions = backend.Options{
	Family:             corev1.IPv4Protocol,
	ClusterCIDR:        netip.MustParsePrefix("10.244.0.0/16"),
	NodeIPs:            []netip.Addr{netip.MustParseAddr("192.168.1.2")},
	LocalhostNodePorts: true,
	MasqueradeBit:      14,
}

var node6Options = backend.Options{
	Family:        corev1.IPv6Protocol,
	ClusterCIDR:   netip.MustParsePrefix("fd00:10:244::/56"),
	NodeIPs:       []netip.Addr{netip.MustParseAddr("fd00:1::2")},
	MasqueradeBit: 14,
}

// familyOf is the ports of one family.
func familyOf(p plan.Plan, family corev1.IPFamily) plan.Plan {
	one := plan.Plan{}
	for name, ports := range p {
		for _, port := range ports {
			if port.ClusterIP.Is6() == (family == corev1.IPv6Protocol) {
				one[name] = append(one[name], port)
			}
		}
	}
	return one
}

// nodeLayout is what New makes of nodeOptions on a machine that does not set nf_conntrack_tcp_be_liberal.
var nodeLayout = layoutOf(nodeOptions)

func layoutOf(options backend.Options) layout {
	l := layout{Options: options}
	l.nodePorts = l.nodePortRules(nil)
	return l
}

var nftBounds = boundsOf(tool{nft: true})

// readPlan plans the Services and EndpointSlices of a YAML file for node-1.
func readPlan(t testing.TB, path string, family corev1.IPFamily) plan.Plan {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var services []*corev1.Service
	var endpointSlices []*discoveryv1.EndpointSlice
	for _, document := range strings.Split(string(text), "\n---\n") {
		var object any = &corev1.Service{}
		if strings.Contains(document, "kind: EndpointSlice") {
			object = &discoveryv1.EndpointSlice{}
		}
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		switch object := object.(type) {
		case *corev1.Service:
			services = append(services, object)
		case *discoveryv1.EndpointSlice:
			endpointSlices = append(endpointSlices, object)
		}
	}
	return familyOf(plan.Build(services, endpointSlices, plan.Node{Name: "node-1"}), family)
}

// checkGolden may be called on any goroutine.
func checkGolden(t *testing.T, path, actual string) {
	t.Helper()
	if *rewriteGolden {
		if err := os.WriteFile(path, []byte(actual), 0o644); err != nil {
			t.Error(err)
		}
	}
	expected, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if actual != string(expected) {
		t.Errorf("not what %s holds (run with -update and look at the difference):\n%s", path, actual)
	}
}

func TestRestoreInputFromScratch(t *testing.T) {
	r := replace(&snapshot{}, readPlan(t, "testdata/services.yaml", corev1.IPv4Protocol), nodeLayout, nftBounds)
	if len(r.steps) != 1 || len(r.cleanup) != 0 {
		t.Fatalf("%d transactions and %d for cleanup, expected one and none", len(r.steps), len(r.cleanup))
	}
	checkGolden(t, "testdata/services.restore", r.steps[0].String())
}

// The names are those that kube-proxy gives, so that a textbook's listing and a node's agree.
func TestChainNames(t *testing.T) {
	port := func(namespace, service, port string, protocol corev1.Protocol) *plan.Port {
		return &plan.Port{
			Name:     plan.PortName{NamespacedName: types.NamespacedName{Namespace: namespace, Name: service}, Port: port},
			Protocol: protocol,
		}
	}
	for _, test := range []struct {
		port *plan.Port
		name string
	}{
		{port("default", "kubernetes", "https", corev1.ProtocolTCP), "KUBE-SVC-NPX46M4PTMTKRN6Y"},
		{port("kube-system", "kube-dns", "dns", corev1.ProtocolUDP), "KUBE-SVC-TCOU7JCQXEZGVUNU"},
		{port("kube-system", "kube-dns", "dns-tcp", corev1.ProtocolTCP), "KUBE-SVC-ERIFXISQEP7F7OF4"},
		{port("default", "nginx", "", corev1.ProtocolTCP), "KUBE-SVC-2CMXP7HKUVJN7L6M"},
	} {
		if name := chainsOf(test.port).cluster; name != test.name {
			t.Errorf("%s: chain %s, expected %s", test.port.Name, name, test.name)
		}
	}
	endpoint := plan.Endpoint{AddrPort: netip.MustParseAddrPort("10.180.0.1:80")}
	if name := endpointChain(port("ns1", "svc1", "p80", corev1.ProtocolTCP), endpoint); name != "KUBE-SEP-SXIVWICOYRO3J4NJ" {
		t.Errorf("endpoint chain %s", name)
	}
}

func TestProbability(t *testing.T) {
	for n, expected := range map[int]string{2: "0.50000000000", 3: "0.33333333349", 4: "0.25000000000", 5: "0.20000000019", 6: "0.16666666651", 7: "0.14285714272"} {
		if actual := probability(n); actual != expected {
			t.Errorf("1/%d is %s, expected %s", n, actual, expected)
		}
	}
}
