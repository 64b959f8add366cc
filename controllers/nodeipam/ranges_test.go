package nodeipam

import (
	"errors"
	"fmt"
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

func TestIPv6Ranges(t *testing.T) {
	ranges, err := NewRanges(netip.MustParsePrefix("10.244.0.0/16"), 24)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ranges.WithIPv6(netip.MustParsePrefix("fd00:10:244::/57")); err == nil {
		t.Error("half as many ranges are enough")
	}
	ranges, err = ranges.WithIPv6(netip.MustParsePrefix("fd00:10:244::/56"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "[10.244.0.0/24 fd00:10:244::/64]", 255: "[10.244.255.0/24 fd00:10:244:ff::/64]"} {
		if got := fmt.Sprint(ranges.all(ranges.at(i))); got != want {
			t.Errorf("range %d is %s, want %s", i, got, want)
		}
	}
}
