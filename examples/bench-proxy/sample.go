package main

import (
	"fmt"
	"slices"
	"time"
)

// sample are measured times.
type sample []time.Duration

func (s *sample) add(d time.Duration) { *s = append(*s, d) }

func (s *sample) since(started time.Time) { s.add(time.Since(started)) }

// quantile is the smallest value that more than the part q of all values, 0 to 1, does not exceed, or the largest; 0 of none. So the
// 0.99 quantile of a hundred is the largest.
func (s sample) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s sample) median() time.Duration { return s.quantile(0.5) }

func (s sample) worst() time.Duration { return s.quantile(1) }

// short prints a duration with two or three digits, in s, ms or µs.
func short(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}} {
		if value := float64(d) / float64(unit.size); value >= 1 {
			if value < 10 {
				return fmt.Sprintf("%.1f %s", value, unit.name)
			}
			return fmt.Sprintf("%.0f %s", value, unit.name)
		}
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}
