package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// result is what was measured of one variant with one number of Services.
type result struct {
	variant  variant
	services int

	firstSync sample        // the proxy's own time of its first sync
	firstSeen time.Duration // from the start of the process to a connection through the last Service
	changes   []*change
	cpu       time.Duration // of the process and what it ran, for all of that
	memory    int64         // PSS in bytes after all of that
	counts    kernelCounts
	direct    *dataPath // to the endpoint itself
	through   *dataPath // through the last Service
	readiness *readiness
}

func (b *bench) measureVariant(ctx context.Context, v variant, services int) (r *result, err error) {
	r = &result{variant: v, services: services}
	n, err := b.lab.addNode(1)
	if err != nil {
		return nil, err
	}
	if err := b.measureNode(ctx, n, r); err != nil {
		return nil, errors.Join(err, n.close())
	}
	if err := n.close(); err != nil {
		return nil, err
	}
	if services == readinessServices {
		r.readiness, err = b.measureReadiness(ctx, v)
	}
	return r, err
}

func (b *bench) measureNode(ctx context.Context, n *node, r *result) (err error) {
	last := b.load.services[r.services-1]
	p, err := b.startProxy(ctx, n, r.variant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	first, err := p.syncedSince(ctx, histogram{})
	if err != nil {
		return err
	}
	r.firstSync.add(time.Duration(first.sum * float64(time.Second)))
	if r.firstSeen, err = p.firstSeen(ctx, last); err != nil {
		return err
	}
	if r.changes, err = b.measureChanges(ctx, p, r.services); err != nil {
		return err
	}
	if r.cpu, err = p.cpu(); err != nil {
		return err
	}
	if r.memory, err = p.memory(); err != nil {
		return err
	}
	if r.counts, err = b.count(n, r.variant); err != nil {
		return err
	}
	endpoint := netip.AddrPortFrom(endpointAddress(r.services-1, 0), endpointPort)
	if r.direct, err = measureDataPath(ctx, n.client, endpoint); err != nil {
		return fmt.Errorf("connect to an endpoint: %w", err)
	}
	if r.through, err = measureDataPath(ctx, n.client, last); err != nil {
		return fmt.Errorf("connect through the last Service: %w", err)
	}
	return nil
}

// report writes the tables in Markdown.
func report(out io.Writer, results []*result) {
	fmt.Fprint(out, "| mode | Services × 5 | first full sync | process start to last Service |")
	fmt.Fprint(out, " endpoint replaced | Service added | Service removed | seen: replaced | seen: added | seen: removed |")
	fmt.Fprint(out, " memory (PSS) | processor time | in the kernel |\n|")
	for range 13 {
		fmt.Fprint(out, " --- |")
	}
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintf(out, "| %s | %d | %s | %s |", r.variant.name, r.services, short(r.firstSync.median()), short(r.firstSeen))
		for _, change := range r.changes {
			fmt.Fprintf(out, " %s / %s |", short(change.synced.median()), short(change.synced.worst()))
		}
		for _, change := range r.changes {
			fmt.Fprintf(out, " %s / %s |", short(change.seen.median()), short(change.seen.worst()))
		}
		fmt.Fprintf(out, " %d MiB | %s | %s |\n", r.memory>>20, short(r.cpu), r.counts)
	}
	fmt.Fprint(out, "\n| mode | Services × 5 | connections a second | set-up to the first byte p50 | p99 | one stream |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range results {
		fmt.Fprintf(out, "| %s | %d |", r.variant.name, r.services)
		fmt.Fprintf(out, " %.0f (direct %.0f) |", r.through.rate, r.direct.rate)
		fmt.Fprintf(out, " %s (%s) |", short(r.through.setUp.median()), short(r.direct.setUp.median()))
		fmt.Fprintf(out, " %s (%s) |", short(r.through.setUp.quantile(0.99)), short(r.direct.setUp.quantile(0.99)))
		fmt.Fprintf(out, " %.1f Gbit/s (%.1f) |\n", r.through.bandwidth/1e9, r.direct.bandwidth/1e9)
	}
	fmt.Fprintf(out, "\n| mode, %d Services, both nodes | Pod Ready: p50 / p99 | Pod gone: p50 / p99 |\n| --- | --- | --- |\n", readinessServices)
	for _, r := range results {
		if r.readiness == nil {
			continue
		}
		fmt.Fprintf(out, "| %s | %s / %s | %s / %s |\n", r.variant.name,
			short(r.readiness.ready.median()), short(r.readiness.ready.quantile(0.99)),
			short(r.readiness.gone.median()), short(r.readiness.gone.quantile(0.99)))
	}
}
