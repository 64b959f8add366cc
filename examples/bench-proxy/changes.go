package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
)

// probeTimeout is how long a probe waits for an answer that no rule leads to; then it asks again.
const probeTimeout = 20 * time.Millisecond

// seenLimit is how long a change may take before the benchmark gives up.
const seenLimit = 2 * time.Minute

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
			func() bool { return answeredBy(b.load.services[number], endpointAddress(number, endpointsPerService)) }); err != nil {
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
			func() bool { _, err := answerer(address, probeTimeout); return err == nil }); err != nil {
			return nil, err
		}
		if err := b.measure(ctx, p, removed,
			func() error { return b.load.deleteService(ctx, number) },
			func() bool { _, err := answerer(address, probeTimeout); return err != nil }); err != nil {
			return nil, err
		}
		if err := b.load.deleteSlice(ctx, number); err != nil {
			return nil, err
		}
	}
	return []*change{replaced, added, removed}, nil
}

// measure makes one change and waits until the client sees it and the proxy has counted it.
func (b *bench) measure(ctx context.Context, p *proxy, c *change, call func() error, visible func() bool) error {
	before, err := p.histogram(ctx, syncDuration)
	if err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	answered := time.Now()
	err = netns.Do(p.node.client, func() error {
		for !visible() {
			if time.Since(answered) > seenLimit {
				return fmt.Errorf("%s: not seen after %s: %s", c.what, seenLimit, p.lastLines())
			}
		}
		c.seen.since(answered)
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

// answeredBy says whether one of the next connections reaches the endpoint.
func answeredBy(service netip.AddrPort, endpoint netip.Addr) bool {
	answered, err := answerer(service, probeTimeout)
	return err == nil && answered == endpoint
}
