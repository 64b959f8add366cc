package nftables

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

var rewriteGolden = flag.Bool("update", false, "write the golden files anew")

// readPlan plans the Services and EndpointSlices of a YAML file for node-1.
func readPlan(t testing.TB, path string) plan.Plan {
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
	return plan.Build(services, endpointSlices, plan.Node{Name: "node-1"})
}

func checkGolden(t *testing.T, path, actual string) {
	t.Helper()
	if *rewriteGolden {
		if err := os.WriteFile(path, []byte(actual), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if actual != string(expected) {
		t.Errorf("%s is other than expected; run with -update and look at the difference:\n%s", path, actual)
	}
}

// text is the element as nft prints it.
func (e element) text(of family) string {
	keyFields, dataFields := e.set.fields()
	text := fieldTexts(keyFields, e.bytes[:], of)
	switch {
	case e.set == sourceRanges:
		text += fmt.Sprintf("/%d", e.bits)
	case e.set.isVerdictMap() && e.chain.kind == drop:
		text += " : drop"
	case e.set.isVerdictMap():
		text += " : goto " + e.chain.name()
	case dataFields != nil:
		text += " : " + fieldTexts(dataFields, e.data[:], of)
	}
	return text
}

func fieldTexts(fields []field, data []byte, of family) string {
	var texts []string
	for _, f := range fields {
		_, length := f.datatype(of)
		one := data[:length]
		switch f {
		case fieldAddress:
			address, _ := netip.AddrFromSlice(one)
			texts = append(texts, address.String())
		case fieldProtocol:
			texts = append(texts, map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}[one[0]])
		case fieldPort:
			texts = append(texts, fmt.Sprint(bigEndian.Uint16(one)))
		case fieldIndex:
			texts = append(texts, fmt.Sprint(one[0]))
		}
		data = data[aligned(int(length)):]
	}
	return strings.Join(texts, " . ")
}

// dump is every element that a plan leads to, sorted by set.
func dump(p plan.Plan, l layout) string {
	s := newState(l, len(p))
	s.fill(p)
	var elements []element
	s.each(func(e element) { elements = append(elements, e) })
	slices.SortFunc(elements, compareElements)
	var text strings.Builder
	last := setCount
	for _, e := range elements {
		if e.set != last {
			fmt.Fprintf(&text, "%s\n", e.set.name())
		}
		last = e.set
		fmt.Fprintf(&text, "\t%s\n", e.text(l.family))
	}
	return text.String()
}

func TestElements(t *testing.T) {
	checkGolden(t, "testdata/services.elements", dump(readPlan(t, "testdata/services.yaml"), layout{unix.NFPROTO_IPV4, nodeOptions}))
}
