package network

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestHostPortRules(t *testing.T) {
	rules := append(basicRules(), podRules("0b7f6ad2-1d0e-4c0c-9d43-2ad4a4f8a7f1", netip.MustParseAddr("10.244.0.2"), []HostPort{
		{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"},
		{HostIP: "192.168.1.2", HostPort: 53, ContainerPort: 5353, Protocol: "UDP"},
		{HostIP: "0.0.0.0", HostPort: 81, ContainerPort: 81, Protocol: "SCTP"},
	})...)
	var text strings.Builder
	for _, rule := range rules {
		text.WriteString("-A " + rule.chain)
		for _, word := range rule.match {
			if strings.Contains(word, " ") {
				word = `"` + word + `"`
			}
			text.WriteString(" " + word)
		}
		text.WriteString("\n")
	}
	const golden = "testdata/hostport.rules"
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("rules differ from %s:\n%s", golden, &text)
	}
}
