package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
)

// A connection takes about 0.1 ms. openTimeout is how long a probe waits for one that may not be possible yet, before it
// tries again; goneTimeout is after how long one counts as no longer possible.
const (
	openTimeout = 2 * time.Millisecond
	goneTimeout = 50 * time.Millisecond
)

// seenLimit is how long a change may take before the benchmark gives up.
const seenLimit = 2 * time.Minute

// probePause is between two probes.
const probePause = 500 * time.Microsecond

// change is what was measured of one kind of change.
type change struct {
	what string
	// synced is the proxy's own time from the event's arrival to the rule in the kernel, seen the time from the API call's answer
	// to a connection that finds the rule.
	synced, seen sample
}

// measureChanges makes count changes of each kind, one after the other, while the client of the node connects.
func (b *bench) measureChanges(ctx context.Context, p *proxy, services int) ([]*change, error) {
	replaced, added, removed := &change{what: "endpoint replaced"}, &change{what: "Service added"}, &change{what: "Service removed"}
	for i := range b.options.changes {
		number := (i*7919 + 1) % services // all over the list
		addresses := endpointsOf(number)
		addresses[i%endpointsPerService] = endpointAddress(number, endpointsPerService)
		if err := b.measure(ctx, p, replaced,
			func() error { return b.load.updateSlice(ctx, number, addresses) },
			func() (time.Time, bool) {
				return answeredBy(b.load.services[number], endpointAddress(number, endpointsPerService))
			}); err != nil {
			return nil, err
		}
		if err := b.quietly(ctx, p, func() error { return b.load.updateSlice(ctx, number, endpointsOf(number)) }); err != nil {
			return nil, err
		}
	}
	for range b.options.changes {
		b.extra++
		number := 1<<16 + b.extra // a name and endpoints that no other has
		if err := b.load.createSlice(ctx, number); err != nil {
			return nil, err
		}
		var address netip.AddrPort
		if err := b.measure(ctx, p, added,
			func() (err error) { address, err = b.load.createService(ctx, number); return err },
			func() (time.Time, bool) { return open(address) }); err != nil {
			return nil, err
		}
		if err := b.measure(ctx, p, removed,
			func() error { return b.load.deleteService(ctx, number) },
			func() (time.Time, bool) { return gone(address) }); err != nil {
			return nil, err
		}
		if err := b.load.deleteSlice(ctx, number); err != nil {
			return nil, err
		}
	}
	return []*change{replaced, added, removed}, nil
}

// measure makes one change and waits until the client sees it and the proxy has counted it.
func (b *bench) measure(ctx context.Context, p *proxy, c *change, call func() error, visible probe) error {
	before, err := p.histogram(ctx, syncDuration)
	if err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	answered := time.Now()
	err = netns.Do(p.node.client, func() error {
		at, err := visible.until(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", c.what, err, p.lastLines())
		}
		c.seen.add(max(0, at.Sub(answered)))
		return nil
	})
	if err != nil {
		return err
	}
	since, err := p.syncedSince(ctx, before)
	c.synced.add(time.Duration(since.sum / since.count * float64(time.Second)))
	return err
}

// quietly makes a change that is not measured.
func (b *bench) quietly(ctx context.Context, p *proxy, call func() error) error {
	before, err := p.histogram(ctx, syncDuration)
	if err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	_, err = p.syncedSince(ctx, before)
	return err
}

// probe looks once whether a change is in force, and since when at the latest.
type probe func() (time.Time, bool)

// until probes again and again, for as long as seenLimit. The pause between is for those who are measured: they may have no other
// processor. What is measured gets longer by it, never shorter.
func (p probe) until(ctx context.Context) (time.Time, error) {
	for started := time.Now(); time.Since(started) < seenLimit && ctx.Err() == nil; {
		if at, ok := p(); ok {
			return at, nil
		}
		time.Sleep(probePause)
	}
	return time.Time{}, errors.Join(ctx.Err(), fmt.Errorf("not seen within %s", seenLimit))
}

// open says whether a connection is possible, and when it was there.
func open(service netip.AddrPort) (time.Time, bool) {
	fd, err := connect(service, openTimeout)
	if err != nil {
		return time.Time{}, false
	}
	now := time.Now()
	return now, reset(fd) == nil
}

// gone says whether a connection is no longer possible, and when it was tried.
func gone(service netip.AddrPort) (time.Time, bool) {
	now := time.Now()
	fd, err := connect(service, goneTimeout)
	if err != nil {
		return now, true
	}
	return now, reset(fd) != nil
}

// answeredBy says whether one of the next connections reached the endpoint, and when.
func answeredBy(service netip.AddrPort, endpoint netip.Addr) (time.Time, bool) {
	answered, err := answerer(service, goneTimeout)
	return time.Now(), err == nil && answered == endpoint
}
