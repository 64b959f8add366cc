package replicaset

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestExpectations(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(now)
	e := newExpectations(clock)
	check := func(when string, want bool) {
		t.Helper()
		if got := e.satisfied("a"); got != want {
			t.Errorf("%s: satisfied is %v, want %v", when, got, want)
		}
	}
	check("at first", true)
	e.expectCreations("a", 2)
	e.created("a")
	check("one of two seen", false)
	e.created("a")
	check("both seen", true)
	e.expectDeletions("a", []types.UID{"x"})
	e.deleted("a", "y")
	check("another's deletion seen", false)
	e.deleted("a", "x")
	check("deletion seen", true)
	e.expectCreations("a", 1)
	clock.SetTime(now.Add(expectationTimeout + time.Second))
	check("waited too long", true)
}
