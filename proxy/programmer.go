package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/proxy/health"
	"github.com/kubelite/kubelite/proxy/metrics"
	"github.com/kubelite/kubelite/proxy/plan"
)

// stopGrace is how long what is being written when the proxy is told to stop may still take.
const stopGrace = 10 * time.Second

// retryInterval is the pause between attempts to listen on health-check node ports that are taken, and to remove what another mode left.
const retryInterval = 5 * time.Second

// programmer brings the API's objects into the kernel. Its methods run on one goroutine, in the node's network namespace.
type programmer struct {
	objects  *objects
	families []*family
	metrics  *metrics.Metrics
	// cleanups remove what other modes left, by mode; each runs until it succeeds once.
	cleanups map[Mode]func(context.Context) error
	// complaints are why they did not succeed the last time, by mode.
	complaints map[Mode]string
	// programmed is called once, when everything is programmed and cleaning up after other modes was tried.
	programmed func()
	once       sync.Once
}

// run programs everything once, then what changes, until ctx is done; what is being written then is finished. It returns an error
// when nothing can be programmed the first time.
func (p *programmer) run(ctx context.Context, checkInterval time.Duration) error {
	writing, cancel := outlive(ctx, stopGrace)
	defer cancel()
	if err := p.begin(writing); err != nil && ctx.Err() == nil {
		return err
	}
	check, again := time.NewTimer(checkInterval), time.NewTimer(retryInterval)
	defer check.Stop()
	defer again.Stop()
	for {
		retry := p.retryAfter()
		select {
		case <-ctx.Done():
			return nil
		case <-p.objects.wake:
			p.update(writing)
		case <-retry:
			p.mend(writing)
		case <-check.C:
			took := p.check(writing)
			check.Reset(pause(checkInterval, took))
		case <-again.C:
			started := time.Now()
			for _, family := range p.families {
				family.checks.Retry()
			}
			p.cleanUp(writing)
			again.Reset(pause(retryInterval, time.Since(started)))
		}
	}
}

// pause is that before something is done again which took so long, so that no more than a twentieth of the time goes into it.
func pause(least, took time.Duration) time.Duration { return max(least, 20*took) }

// begin programs everything for the first time. Families after the first one may do without: they are tried again.
func (p *programmer) begin(ctx context.Context) error {
	changed := p.take()
	p.metrics.ChangesTaken(changed.services, changed.slices)
	names := p.objects.names()
	all := p.plans(names)
	for i, family := range p.families {
		if err := family.replace(ctx, all); err != nil {
			if i == 0 {
				return err
			}
			slog.Error("program all Services; trying again", "family", family.family, "error", err, "after", family.retry)
		}
	}
	p.setHealthChecks(names)
	p.cleanUp(ctx)
	return nil
}

// take returns what changed. What changes from now on wakes this goroutine again, even if it is taken with the rest.
func (p *programmer) take() changes {
	for _, family := range p.families {
		family.health.Taken(family.family)
	}
	return p.objects.take()
}

// update programs the Services that changed.
func (p *programmer) update(ctx context.Context) {
	changed := p.take()
	names := make([]types.NamespacedName, 0, len(changed.names))
	for name := range changed.names {
		names = append(names, name)
	}
	if changed.all {
		names = p.allNames()
	}
	planned := p.plans(names)
	for _, family := range p.families {
		if family.broken {
			continue // what is retried holds the change
		}
		if err := family.update(ctx, planned, changed.triggered); err != nil {
			slog.Error("change the rules; programming all again", "family", family.family, "error", err)
		}
	}
	p.setHealthChecks(names)
	p.metrics.ChangesTaken(changed.services, changed.slices)
}

// mend programs everything for those families whose time has come after something went wrong.
func (p *programmer) mend(ctx context.Context) {
	var all plan.Plan
	mended := false
	for _, family := range p.families {
		if !family.broken || time.Now().Before(family.due) {
			continue
		}
		if all == nil {
			all = p.plans(p.objects.names())
		}
		if err := family.replace(ctx, all); err != nil {
			slog.Error("program all Services; trying again", "family", family.family, "error", err, "after", family.retry)
		} else {
			mended = true
		}
	}
	if mended {
		p.cleanUp(ctx)
	}
}

// retryAfter ends when mend has something to do; nil, which never ends, while nothing is broken.
func (p *programmer) retryAfter() <-chan time.Time {
	var first *family
	for _, family := range p.families {
		if family.broken && (first == nil || family.due.Before(first.due)) {
			first = family
		}
	}
	if first == nil {
		return nil
	}
	return time.After(time.Until(first.due))
}

// check programs everything again where someone else changed the rules. It returns how long looking took.
func (p *programmer) check(ctx context.Context) time.Duration {
	started := time.Now()
	for _, family := range p.families {
		if family.broken {
			continue
		}
		found, err := family.check(ctx)
		switch {
		case err != nil:
			if err.Error() != family.complaint { // once, not every second
				slog.Error("compare the rules", "family", family.family, "error", err)
			}
			family.complaint = err.Error()
			continue
		case found != "":
			slog.Warn("someone else changed the rules; programming all again", "family", family.family, "found", found)
			family.broken, family.due = true, time.Now()
		}
		family.complaint = ""
	}
	took := time.Since(started)
	p.mend(ctx)
	return took
}

// cleanUp removes what other modes left, once every family works in this one: what served before goes when what serves now is there.
func (p *programmer) cleanUp(ctx context.Context) {
	for _, family := range p.families {
		if family.broken {
			return
		}
	}
	for mode, cleanup := range p.cleanups {
		if err := cleanup(ctx); err != nil {
			if err.Error() != p.complaints[mode] { // once, not every time
				slog.Error("remove what another proxy mode left; trying again", "mode", mode, "error", err, "every", retryInterval)
			}
			p.complaints[mode] = err.Error()
			continue
		}
		delete(p.cleanups, mode)
	}
	p.once.Do(p.programmed)
}

// plans plans the Services named, those that are gone without ports.
func (p *programmer) plans(names []types.NamespacedName) plan.Plan {
	planned := make(plan.Plan, len(names))
	for _, name := range names {
		planned[name] = p.objects.ports(name)
	}
	return planned
}

// allNames are those of all Services that are there, are in the kernel or have a health check.
func (p *programmer) allNames() []types.NamespacedName {
	all := map[types.NamespacedName]struct{}{}
	for _, name := range p.objects.names() {
		all[name] = struct{}{}
	}
	for _, family := range p.families {
		for name := range family.current {
			all[name] = struct{}{}
		}
		for _, name := range family.checks.Names() {
			all[name] = struct{}{}
		}
	}
	names := make([]types.NamespacedName, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	return names
}

// setHealthChecks makes the health-check node ports of the Services named answer as they should now.
func (p *programmer) setHealthChecks(names []types.NamespacedName) {
	for _, family := range p.families {
		serving := map[types.NamespacedName]*health.Service{}
		for _, name := range names {
			if service := p.objects.health(name, family.family); service != nil {
				serving[name] = service
			} else {
				family.checks.Set(name, nil) // before the others: its port may be theirs now
			}
		}
		for name, service := range serving {
			family.checks.Set(name, service)
		}
	}
}
