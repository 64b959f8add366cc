package store

import (
	"fmt"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// watchBuffer is how many events wait in a Watcher's channel, so that a burst needs few goroutine switches.
	watchBuffer = 32
	// watchRead is how many changes a Watcher takes from the history at a time.
	watchRead = 32
)

// Watcher delivers the changes of one resource. It has a goroutine, which Stop ends.
type Watcher struct {
	lane      *lane
	history   *history
	namespace string
	events    chan Event
	stop      chan struct{}
	stopOnce  sync.Once
	// sent is the position in the history before which everything is in the channel or received.
	sent atomic.Uint64
	err  error // written before events is closed
}

// Watch delivers the changes of a resource after revision from, in order and without loss; from 0 means from now on. An
// empty namespace means all. ErrGone is returned when changes after from are no longer known (list anew), ErrFuture when
// from is later than any revision given out.
func (s *Store) Watch(resource schema.GroupResource, namespace string, from uint64) (*Watcher, error) {
	l := s.lane(resource)
	l.mu.Lock()
	defer l.mu.Unlock()
	if from > s.revisions.current() {
		return nil, fmt.Errorf("watch %s from %d: %w", resource, from, ErrFuture)
	}
	h := l.historyLocked(resource)
	position, _ := h.newest()
	if from != 0 {
		var err error
		if position, err = h.after(from); err != nil {
			return nil, fmt.Errorf("watch %s from %d: %w", resource, from, err)
		}
	}
	w := &Watcher{
		lane:      l,
		history:   h,
		namespace: namespace,
		events:    make(chan Event, watchBuffer),
		stop:      make(chan struct{}),
	}
	w.sent.Store(position)
	go w.run(position, from)
	return w, nil
}

// Events is closed when the watch has ended; Err then says why.
func (w *Watcher) Events() <-chan Event {
	return w.events
}

// Stop ends the watch. It may be called at any time and more than once.
func (w *Watcher) Stop() {
	w.stopOnce.Do(func() { close(w.stop) })
}

// Err says why Events was closed: nil after Stop, ErrSlow when the reader fell too far behind, ErrClosed when the store
// was closed. It must not be called before Events is closed.
func (w *Watcher) Err() error {
	return w.err
}

// Bookmark returns a revision up to which the reader has received everything there is, for a bookmark event. ok is
// false while changes are still on their way. It is called by the goroutine that receives from Events.
func (w *Watcher) Bookmark() (revision uint64, ok bool) {
	w.lane.mu.RLock()
	defer w.lane.mu.RUnlock()
	newest, _ := w.history.newest()
	if w.sent.Load() != newest || len(w.events) > 0 {
		return 0, false
	}
	return w.lane.revisionLocked(), true
}

func (w *Watcher) run(position, from uint64) {
	defer close(w.events)
	buffer := make([]Event, 0, watchRead)
	for {
		events, changed, err := w.history.read(position, buffer[:0])
		if err != nil {
			w.err = err
			return
		}
		if len(events) == 0 {
			select {
			case <-changed:
			case <-w.stop:
				return
			}
			continue
		}
		for _, event := range events {
			// A client may ask for changes after a revision of the other lane, which this lane has not reached yet.
			if event.Revision > from && (w.namespace == "" || w.namespace == event.Item.Key.Namespace) {
				select {
				case w.events <- event:
				case <-w.stop:
					return
				}
			}
			position++
			w.sent.Store(position)
		}
		clear(events)
	}
}
