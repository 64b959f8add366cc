package apiserver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kubelite/kubelite/apiserver/store"
)

// expiryPeriod is how often expired objects are looked for: they may live that much longer than they must.
const expiryPeriod = 5 * time.Minute

// revisionClock remembers which revision was the newest at which time, so that "not written for an hour" can be asked of an
// object's revision: no object needs a timer, and no timestamp that a client has set is believed. The zero value is usable; by
// one goroutine.
type revisionClock struct {
	marks []revisionMark // oldest first
}

type revisionMark struct {
	at       time.Time
	revision uint64
}

// mark notes the newest revision.
func (clock *revisionClock) mark(now time.Time, revision uint64) {
	clock.marks = append(clock.marks, revisionMark{now, revision})
}

// at is a revision that was reached by a time: the newest that is known, or 0. Marks that are older are forgotten.
func (clock *revisionClock) at(when time.Time) uint64 {
	var revision uint64
	for len(clock.marks) > 0 && !clock.marks[0].at.After(when) {
		revision = clock.marks[0].revision
		if len(clock.marks) > 1 && clock.marks[1].at.After(when) {
			return revision
		}
		clock.marks = clock.marks[1:]
	}
	return revision
}

// expire removes objects of kinds with a Lifetime that were not written for that long, until the server stops: Events would fill
// the memory otherwise. Kubernetes has leases in etcd do it.
func (s *Server) expire(ctx context.Context) {
	ticker := time.NewTicker(expiryPeriod)
	defer ticker.Stop()
	clocks := map[*resource]*revisionClock{}
	for _, res := range s.resources {
		if res.Lifetime > 0 && res.StoredAs == nil {
			clocks[res] = new(revisionClock)
		}
	}
	for {
		select {
		case <-s.stopping:
			return
		case now := <-ticker.C:
			for res, clock := range clocks {
				clock.mark(now, s.store.Revision())
				s.removeUnwritten(ctx, res, clock.at(now.Add(-res.Lifetime)))
			}
		}
	}
}

// removeUnwritten removes the objects that were last written at a revision or before it.
func (s *Server) removeUnwritten(ctx context.Context, res *resource, since uint64) {
	for item := range s.store.List(res.GroupResource(), "").All() {
		if item.Revision > since {
			continue
		}
		_, err := s.store.Delete(ctx, item.Key, item.Revision)
		switch {
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound): // written or gone meanwhile
		case err != nil:
			slog.Warn("object not expired", "resource", item.Key.Resource, "namespace", item.Key.Namespace, "name", item.Key.Name, "error", err)
			return
		}
	}
}
