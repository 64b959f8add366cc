package nodeipam

import (
	"errors"
	"net/netip"
	"testing"
)

func TestChoose(t *testing.T) {
	tests := map[string]struct {
		cluster string
		node    string
		taken   []string
		want    string
	}{
		"the first":                     {"10.244.0.0/16", "node-1", nil, "10.244.0.0/24"},
		"the second before the first":   {"10.244.0.0/16", "node-2", nil, "10.244.1.0/24"},
		"its number is taken":           {"10.244.0.0/16", "node-2", []string{"10.244.1.0/24"}, "10.244.0.0/24"},
		"another name: the lowest free": {"10.244.0.0/16", "worker", []string{"10.244.0.0/24", "10.244.2.0/24"}, "10.244.1.0/24"},
		"node-0 has no number":          {"10.244.0.0/16", "node-0", nil, "10.244.0.0/24"},
		"node-01 has no number":         {"10.244.0.0/16", "node-01", nil, "10.244.0.0/24"},
		"a number beyond the range":     {"10.244.0.0/16", "node-257", nil, "10.244.0.0/24"},
		"the last":                      {"10.244.0.0/16", "node-256", nil, "10.244.255.0/24"},
		"ranges of another size":        {"10.244.0.0/16", "node-1", []string{"10.244.0.0/23"}, "10.244.2.0/24"},
		"exhausted":                     {"10.244.0.0/23", "node-9", []string{"10.244.0.0/24", "10.244.1.0/24"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ranges, err := NewRanges(netip.MustParsePrefix(test.cluster), 24)
			if err != nil {
				t.Fatal(err)
			}
			var taken []netip.Prefix
			for _, prefix := range test.taken {
				taken = append(taken, netip.MustParsePrefix(prefix))
			}
			got, err := ranges.Choose(test.node, taken)
			if test.want == "" {
				if !errors.Is(err, ErrExhausted) {
					t.Errorf("got %s, %v", got, err)
				}
			} else if err != nil || got.String() != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestNewRangesRefuses(t *testing.T) {
	for _, cluster := range []string{"10.244.0.0/25", "fd00::/48"} {
		if _, err := NewRanges(netip.MustParsePrefix(cluster), 24); err == nil {
			t.Errorf("%s is accepted", cluster)
		}
	}
}
