package store

import "sync"

// revisionBlock is how far the ceiling on disk is ahead of the counter after it was raised. A restart skips what is
// left of the block.
const revisionBlock = 10_000

// revisions is the global counter. No revision above ceiling is given out, and the ceiling is on disk, so that a
// restarted store never gives a revision out twice.
type revisions struct {
	mu      sync.Mutex
	last    uint64
	ceiling uint64
}

// newRevisions continues after the ceiling found on disk. The first revision is never 0: that means "unset" on the wire.
func newRevisions(ceiling uint64) *revisions {
	return &revisions{last: ceiling + 1, ceiling: ceiling + 1}
}

func (r *revisions) current() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// next gives out one revision. ok is false when the ceiling must be raised first. low is true when it should be soon.
func (r *revisions) next() (revision uint64, ok, low bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last >= r.ceiling {
		return 0, false, true
	}
	r.last++
	return r.last, true, r.ceiling-r.last < revisionBlock/2
}

// wanted is the ceiling to write so that at least count more revisions can be given out; raise is false when the one on
// disk does.
func (r *revisions) wanted(count int) (ceiling uint64, raise bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last+uint64(count)+revisionBlock/2 <= r.ceiling {
		return r.ceiling, false
	}
	return r.last + uint64(count) + revisionBlock, true
}

// raised records a ceiling that is on disk.
func (r *revisions) raised(ceiling uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ceiling = max(r.ceiling, ceiling)
}
