package announce

import (
	"slices"
	"time"
)

const (
	// beatInterval is how often a node says that it is there.
	beatInterval = 400 * time.Millisecond
	// patience is how long a node may be silent before others answer for its addresses.
	patience = 3*beatInterval + beatInterval/4
	// calm is how long a node waits before it says again that it is there, after its link was down: a link that comes and
	// goes must not move addresses each time.
	calm = 2 * time.Second
)

// liveness knows which nodes are there. It is used by one goroutine, and its times come from outside.
type liveness struct {
	node  string               // the own one
	heard map[string]time.Time // when a node was last heard, or when it was first expected
	quiet time.Time            // until when the own node is to say nothing
}

// newLiveness is that of a node that has not heard anything.
func newLiveness(node string) liveness { return liveness{node: node, heard: map[string]time.Time{}} }

// expect forgets what was heard: all nodes are taken to be there until they turn out to be silent.
func (l *liveness) expect() { clear(l.heard) }

// hear notes a node's beat, and says whether it was silent before.
func (l *liveness) hear(node string, now time.Time) (back bool) {
	last, known := l.heard[node]
	l.heard[node] = now
	return known && now.Sub(last) >= patience
}

// unplugged notes that the own link is down: others cannot be heard, which says nothing about them.
func (l *liveness) unplugged(now time.Time) {
	l.expect()
	l.quiet = now.Add(calm)
}

// there returns those of the nodes that are there at now, and when the next of them will be silent unless it is heard before.
func (l *liveness) there(nodes []string, now time.Time) (alive []string, until time.Time) {
	for _, node := range nodes {
		if node == l.node {
			if !now.Before(l.quiet) {
				alive = append(alive, node)
			}
			continue
		}
		last, known := l.heard[node]
		if !known {
			last = now
			l.heard[node] = now
		}
		if silent := last.Add(patience); now.Before(silent) {
			alive = append(alive, node)
			if until.IsZero() || silent.Before(until) {
				until = silent
			}
		}
	}
	return slices.Clip(alive), until
}
