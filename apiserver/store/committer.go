package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// maxBatch bounds how many writes share a transaction, so that the first of a burst is not held up by the last.
const maxBatch = 1024

// committer does the durable writes. While one batch is being synced the next one gathers: the busier the store, the
// bigger the batches. Its goroutine runs from newCommitter to stop.
type committer struct {
	lane      *lane
	file      *file
	revisions *revisions
	queue     chan *request
	ceiling   chan struct{}
	quit      chan struct{}
	stopOnce  sync.Once
	done      chan struct{}
}

// request is a write that waits for its batch. A request without a write asks for the ceiling to be raised.
type request struct {
	write *write
	state atomic.Int32
	done  chan struct{}
	err   error // of a request without a write
}

// A request is waiting until exactly one side claims it: the committer, which then finishes it whatever happens, or its
// caller, whose context has ended.
const (
	waiting int32 = iota
	taken
	withdrawn
)

func newCommitter(lane *lane, file *file, revisions *revisions) *committer {
	c := &committer{
		lane:      lane,
		file:      file,
		revisions: revisions,
		queue:     make(chan *request, maxBatch),
		ceiling:   make(chan struct{}, 1),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	go c.run()
	return c
}

// commit queues a write and waits until it is durable and visible, refused, or failed.
func (c *committer) commit(ctx context.Context, w *write) (*Item, error) {
	if err := c.ask(ctx, &request{write: w, done: make(chan struct{})}); err != nil {
		return nil, keyError(w.key, err)
	}
	return w.item, w.err
}

// raiseCeiling makes room for more revisions on disk and waits for it.
func (c *committer) raiseCeiling(ctx context.Context) error {
	r := &request{done: make(chan struct{})}
	if err := c.ask(ctx, r); err != nil {
		return err
	}
	return r.err
}

// remindOfCeiling has the ceiling raised some time soon. It does not wait.
func (c *committer) remindOfCeiling() {
	select {
	case c.ceiling <- struct{}{}:
	default:
	}
}

// ask returns nil when the request was taken and finished.
func (c *committer) ask(ctx context.Context, r *request) error {
	select {
	case <-c.quit:
		return ErrClosed
	default:
	}
	select {
	case c.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.quit:
		return ErrClosed
	}
	var cause error
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		cause = ctx.Err()
	case <-c.done:
		cause = ErrClosed
	}
	if r.state.CompareAndSwap(waiting, withdrawn) {
		return cause
	}
	<-r.done
	return nil
}

// stop lets the batch that has begun end; requests still waiting get ErrClosed.
func (c *committer) stop() {
	c.stopOnce.Do(func() { close(c.quit) })
	<-c.done
}

func (c *committer) stopped() bool {
	select {
	case <-c.quit:
		return true
	default:
		return false
	}
}

func (c *committer) run() {
	defer close(c.done)
	for {
		select {
		case <-c.quit:
			return
		case <-c.ceiling:
			c.do(nil)
		case first := <-c.queue:
			c.do(c.gather(first))
		}
	}
}

// gather takes first and all others that wait now.
func (c *committer) gather(first *request) []*request {
	requests := make([]*request, 0, 1+len(c.queue))
	for r := first; ; {
		if r.state.CompareAndSwap(waiting, taken) {
			requests = append(requests, r)
		}
		if len(requests) == maxBatch {
			return requests
		}
		select {
		case r = <-c.queue:
		default:
			return requests
		}
	}
}

// do commits one batch and answers everyone in it.
func (c *committer) do(requests []*request) {
	ceilingErr := c.ensureCeiling(revisionsFor(requests))
	b := c.lane.begin()
	var changed []*write
	for _, r := range requests {
		if r.write == nil {
			r.err = ceilingErr
			continue
		}
		changed = append(changed, c.applyTo(b, r.write, ceilingErr)...)
	}
	if err := c.persist(changed); err != nil {
		c.lane.abandon()
		// Even a refusal may rest on a write of this batch that did not happen.
		for _, r := range requests {
			if r.write != nil {
				r.write.item, r.write.err = nil, keyError(r.write.key, err)
			}
		}
	} else {
		c.lane.publish(b)
	}
	for _, r := range requests {
		close(r.done)
	}
}

// revisionsFor is how many revisions a batch takes at most.
func revisionsFor(requests []*request) int {
	count := 0
	for _, r := range requests {
		if r.write != nil {
			count += 1 + len(r.write.companions)
		}
	}
	return count
}

// applyTo does a write and its companions, or says in the write why not. It returns what changed.
func (c *committer) applyTo(b *batch, w *write, ceilingErr error) (changed []*write) {
	previous, err := b.check(w)
	if err != nil {
		w.err = err
		return nil
	}
	revisions := make([]uint64, 1+len(w.companions))
	for i := range revisions {
		revision, ok, _ := c.revisions.next()
		if !ok {
			w.err = keyError(w.key, ceilingErr)
			return nil
		}
		revisions[i] = revision
	}
	b.apply(w, previous, revisions[0])
	changed = append(changed, w)
	for i, companion := range w.companions {
		before, _ := b.check(companion) // a companion is never refused
		if before == nil && companion.verb == drop {
			continue
		}
		b.apply(companion, before, revisions[i+1])
		changed = append(changed, companion)
	}
	return changed
}

func (c *committer) persist(changed []*write) error {
	if len(changed) == 0 {
		return nil
	}
	published := func(key Key) (*Item, bool) { return c.lane.get(key) }
	return c.file.commit(changed, published)
}

// ensureCeiling makes room for count more revisions, in a transaction of its own: it is needed once in thousands of
// writes, and a failed batch must not take the counter past what is on disk.
func (c *committer) ensureCeiling(count int) error {
	ceiling, raise := c.revisions.wanted(count)
	if !raise {
		return nil
	}
	if err := c.file.writeCeiling(ceiling); err != nil {
		return fmt.Errorf("reserve revisions: %w", err)
	}
	c.revisions.raised(ceiling)
	return nil
}
