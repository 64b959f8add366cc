package iptables

import (
	"testing"
	"time"
)

// nf_tables' generation says all; that of x_tables is trusted for a time, which is longer where a look is expensive.
func TestSeenIsTrusted(t *testing.T) {
	legacy, nft := tool{}, tool{nft: true}
	for _, test := range []struct {
		tool        tool
		current     uint32
		since, took time.Duration
		about       string
		unchanged   bool
	}{
		{nft, 7, time.Hour, time.Second, "nf_tables does not change unnoticed", true},
		{nft, 8, 0, 0, "someone changed nf_tables", false},
		{legacy, 8, 0, 0, "someone changed x_tables", false},
		{legacy, 7, lookInterval / 2, 0, "x_tables was looked at a moment ago", true},
		{legacy, 7, 2 * lookInterval, time.Millisecond, "x_tables was looked at long ago", false},
		{legacy, 7, 2 * lookInterval, 5 * time.Second, "and that took long", true},
		{legacy, 7, lookShare * 6 * time.Second, 5 * time.Second, "and that took long, but is longer ago", false},
	} {
		s := seen{valid: true, generation: 7, at: time.Now().Add(-test.since), took: test.took}
		if actual := s.unchanged(test.tool, test.current); actual != test.unchanged {
			t.Errorf("%s: unchanged %v", test.about, actual)
		}
	}
}
