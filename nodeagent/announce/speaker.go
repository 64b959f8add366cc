package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// speaker is a node's announcer. It is used by one goroutine.
type speaker struct {
	node      string
	watch     *watch
	responder *responder
	herald    *herald
	liveness  liveness

	able   []string  // nodes that may have addresses
	alive  []string  // those of them that are there
	beats  bool      // whether there are addresses that several nodes may have
	ticked time.Time // when the last beat was due, the zero time without beats
	timer  *time.Timer
}

// run answers until ctx is done, and returns nil then.
func (s *speaker) run(ctx context.Context) error {
	done := make(chan error, 2)
	go func() { done <- s.responder.serve() }() // both end with close
	go func() { done <- s.herald.listen() }()
	s.timer = time.NewTimer(0)
	defer s.timer.Stop()
	var ended error
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case ended = <-done:
			running = false
		case <-s.watch.changed:
			ended = s.update(time.Now())
		case node := <-s.herald.heard:
			ended = s.hear(node, time.Now())
		case now := <-s.timer.C:
			ended = s.tick(now)
		}
		running = running && ended == nil
	}
	return errors.Join(ended, s.close())
}

func (s *speaker) close() error {
	err := errors.Join(s.responder.close(), s.herald.close())
	for range s.herald.heard { // until listen ends
	}
	return err
}

// update announces this node's addresses as things stand in the API. It does nothing before all of them are known: with half
// of the nodes seen, a wrong one would answer.
func (s *speaker) update(now time.Time) error {
	if !s.watch.synced() {
		return nil
	}
	nodes := objects[*corev1.Node](s.watch.nodes)
	s.able = ableNodes(nodes)
	shared := len(s.able) > 1 && len(addressesOfAll(objects[*corev1.Service](s.watch.services), nodes)) > 0
	starts := shared && !s.beats
	s.beats = shared
	if starts {
		s.liveness.expect()
		s.ticked = time.Time{}
		if err := s.tick(now); err != nil {
			return err
		}
	}
	return s.look(now)
}

// look announces what this node is to announce while those nodes are there that are there now.
func (s *speaker) look(now time.Time) error {
	alive, until := s.able, time.Time{}
	if s.beats {
		alive, until = s.liveness.there(s.able, now)
		s.wakeAt(now, until)
	}
	if gone := without(s.alive, alive); len(gone) > 0 {
		slog.Info("nodes do not answer for load balancer addresses any more", "nodes", gone)
	}
	s.alive = alive
	services, nodes := objects[*corev1.Service](s.watch.services), objects[*corev1.Node](s.watch.nodes)
	added, removed := s.responder.announce(addressesOf(s.node, services, nodes, alive, s.watch.slicesOf))
	if len(added)+len(removed) > 0 {
		slog.Info("load balancer addresses of this node changed", "added", added, "removed", removed)
	}
	return nil
}

// wakeAt sets the timer to the next beat, or to until, if that is sooner and not zero.
func (s *speaker) wakeAt(now, until time.Time) {
	next := s.ticked.Add(beatInterval)
	if !until.IsZero() && until.Before(next) {
		next = until
	}
	s.timer.Reset(next.Sub(now))
}

func (s *speaker) hear(node string, now time.Time) error {
	if !s.liveness.hear(node, now) {
		return nil
	}
	if err := s.look(now); err != nil {
		return err
	}
	// It was cut off, and may have taken this node's addresses for its own. Those that it gets back are left out by now.
	s.responder.insist()
	return nil
}

// tick beats when that is due, and looks for silent nodes.
func (s *speaker) tick(now time.Time) error {
	if !s.beats {
		return nil
	}
	if !now.Before(s.ticked.Add(beatInterval)) {
		if !s.ticked.IsZero() && now.Sub(s.ticked) > patience {
			s.liveness.expect() // this process has slept, and heard nobody
		}
		s.ticked = now
		if err := s.beat(now); err != nil {
			return err
		}
	}
	if alive, until := s.liveness.there(s.able, now); slices.Equal(alive, s.alive) {
		s.wakeAt(now, until)
		return nil
	}
	return s.look(now)
}

func (s *speaker) beat(now time.Time) error {
	plugged, err := s.herald.plugged()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errInterfaceGone, err)
	case !plugged:
		s.liveness.unplugged(now)
		return nil
	case now.Before(s.liveness.quiet):
		return nil
	}
	if err := s.herald.say(); err != nil {
		slog.Warn("a heartbeat is missing", "error", err) // the next one may succeed
	}
	return nil
}

// without returns those of the first that are not in the second.
func without(first, second []string) []string {
	return slices.DeleteFunc(slices.Clone(first), func(node string) bool { return slices.Contains(second, node) })
}
