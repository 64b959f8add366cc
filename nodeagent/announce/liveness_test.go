package announce

import (
	"fmt"
	"testing"
	"time"
)

func TestLiveness(t *testing.T) {
	nodes := []string{"node-1", "node-2", "node-3"}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(milliseconds int) time.Time { return start.Add(time.Duration(milliseconds) * time.Millisecond) }
	l := newLiveness("node-1")
	if back := l.hear("node-3", at(-5000)); back { // this node has not begun to expect anybody
		t.Error("node-3 was not away")
	}
	l.expect()
	there := func(milliseconds int, want string) {
		t.Helper()
		alive, until := l.there(nodes, at(milliseconds))
		got := fmt.Sprint(alive)
		if !until.IsZero() {
			got += fmt.Sprintf(" until %d", until.Sub(start).Milliseconds())
		}
		if got != want {
			t.Errorf("at %d ms: %s, want %s", milliseconds, got, want)
		}
	}
	there(0, "[node-1 node-2 node-3] until 1300")
	l.hear("node-2", at(1000))
	there(1299, "[node-1 node-2 node-3] until 1300")
	there(1300, "[node-1 node-2] until 2300")
	if back := l.hear("node-2", at(1400)); back {
		t.Error("node-2 was not away")
	}
	if back := l.hear("node-3", at(1500)); !back {
		t.Error("node-3 was away")
	}
	there(1500, "[node-1 node-2 node-3] until 2700")
	l.unplugged(at(1600))
	there(1600, "[node-2 node-3] until 2900")
	l.hear("node-2", at(3500))
	l.hear("node-3", at(3500))
	there(3600, "[node-1 node-2 node-3] until 4800")
}
