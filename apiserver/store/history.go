package store

import (
	"sort"
	"sync"
)

// history is the newest changes of one resource, in order: a ring that watchers read at their own pace. A watcher holds
// a position in it, so that a change costs the same however many watch, and a slow watcher costs nobody anything.
type history struct {
	size uint64

	mu sync.Mutex
	// ring grows up to size; then the oldest change is overwritten. Positions count all changes ever appended: the one at
	// position p, first <= p < next, is ring[p%size].
	ring        []Event
	first, next uint64
	// floor is the revision of the newest change that the ring no longer holds, or the store's first revision.
	floor uint64
	ended bool
	// changed is closed at the next change; nil while nobody waits.
	changed chan struct{}
}

func newHistory(floor uint64, size int) *history {
	return &history{floor: floor, size: uint64(size)}
}

// append adds a change without waking anyone; see wake.
func (h *history) append(event Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if uint64(len(h.ring)) < h.size {
		h.ring = append(h.ring, event)
	} else {
		oldest := &h.ring[h.next%h.size]
		h.floor = oldest.Revision
		*oldest = event
		h.first++
	}
	h.next++
}

// wake lets waiting watchers look again, once for a whole batch.
func (h *history) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// end wakes all watchers for the last time.
func (h *history) end() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.wake()
}

// after returns the position of the first change after a revision, or ErrGone.
func (h *history) after(revision uint64) (position uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if revision < h.floor {
		return 0, ErrGone
	}
	kept := int(h.next - h.first)
	skip := sort.Search(kept, func(i int) bool { return h.ring[(h.first+uint64(i))%h.size].Revision > revision })
	return h.first + uint64(skip), nil
}

// newest is the position after the last change, and the revision of that change (or floor).
func (h *history) newest() (position, revision uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == h.first {
		return h.next, h.floor
	}
	return h.next, h.ring[(h.next-1)%h.size].Revision
}

// read appends up to cap(into) changes from a position on to into. With none there yet, it returns a channel that is closed
// when there may be. It returns ErrSlow when the position has been overwritten, and ErrClosed after the last change.
func (h *history) read(position uint64, into []Event) ([]Event, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if position < h.first {
		return into, nil, ErrSlow
	}
	for ; position < h.next && len(into) < cap(into); position++ {
		into = append(into, h.ring[position%h.size])
	}
	if len(into) > 0 {
		return into, nil, nil
	}
	if h.ended {
		return into, nil, ErrClosed
	}
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return into, h.changed, nil
}
