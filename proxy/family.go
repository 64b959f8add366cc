package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/conntrack"
	"github.com/kubelite/kubelite/proxy/health"
	"github.com/kubelite/kubelite/proxy/metrics"
	"github.com/kubelite/kubelite/proxy/plan"
)

// Pauses between a Replace that went wrong and the next try: each is twice as long as the one before.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 10 * time.Second
)

// Times after which the kernel is taken to hang: something waits for a lock that nobody gives back.
const (
	updateTimeout  = 30 * time.Second
	replaceTimeout = 5 * time.Minute
)

// family brings the plans of one address family into the kernel. It is used by one goroutine.
type family struct {
	family  corev1.IPFamily
	backend backend.Backend
	// relays is the mode's.
	relays  bool
	cleaner *conntrack.Cleaner
	health  *health.Proxy
	checks  *health.Services
	metrics *metrics.Metrics

	// current is what the kernel holds, unless broken says that nobody knows.
	current plan.Plan
	broken  bool
	// retry is the pause before the next Replace while broken, and due is when it ends.
	retry time.Duration
	due   time.Time
	// complaint is why the rules could not be compared the last time; empty if they could.
	complaint string
	// noLocal counts the ports with a Local policy, internal and external, that have endpoints elsewhere only.
	noLocal [2]int
}

// replace programs a plan of all Services. What went wrong is tried again when due.
func (f *family) replace(ctx context.Context, all plan.Plan) error {
	next := make(plan.Plan, len(all))
	for name, ports := range all {
		if own := f.portsOf(ports); len(own) > 0 {
			next[name] = own
		}
	}
	started := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, replaceTimeout, errHangs)
	defer cancel()
	if err := f.backend.Replace(bounded, next); err != nil {
		f.metrics.SyncFailed(f.family, metrics.Full)
		f.broken, f.retry = true, min(max(minRetry, 2*f.retry), maxRetry)
		f.due = time.Now().Add(f.retry)
		return withCause(bounded, err)
	}
	took := time.Since(started)
	f.metrics.Synced(f.family, metrics.Full, took, nil)
	slog.Info("programmed all Services", "family", f.family, "services", len(next), "took", took)

	var ports, gone []plan.Port
	for _, old := range f.current {
		gone = append(gone, old...)
	}
	f.noLocal = [2]int{}
	for _, own := range next {
		ports = append(ports, own...)
	}
	f.countNoLocal(ports, 1)
	f.current, f.broken, f.retry = next, false, 0
	f.cleaner.Changed(ports, gone)
	f.report()
	return nil
}

// update programs the changed Services, each with all its ports.
func (f *family) update(ctx context.Context, planned plan.Plan, triggered []time.Time) error {
	changed := plan.Plan{}
	var all, outdated transition // outdated is what the kernel may track connections of in a way that is right no more
	for name, ports := range planned {
		next, old := f.portsOf(ports), f.current[name]
		if equalPorts(next, old) {
			continue
		}
		changed[name] = next
		all.add(old, next)
		if !f.relays || !slices.EqualFunc(next, old, equalButEndpoints) {
			outdated.add(old, next)
		}
	}
	if len(changed) == 0 {
		f.health.Updated(f.family)
		f.metrics.UpToDate(f.family)
		return nil
	}
	started := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, updateTimeout, errHangs)
	defer cancel()
	if err := f.backend.Update(bounded, changed); err != nil {
		f.metrics.SyncFailed(f.family, metrics.Partial)
		f.broken, f.due = true, time.Now()
		return withCause(bounded, err)
	}
	f.metrics.Synced(f.family, metrics.Partial, time.Since(started), triggered)
	for name, next := range changed {
		if len(next) == 0 {
			delete(f.current, name)
		} else {
			f.current[name] = next
		}
	}
	f.countNoLocal(all.old, -1)
	f.countNoLocal(all.next, 1)
	f.cleaner.Changed(outdated.next, outdated.old)
	f.report()
	return nil
}

// transition is from ports that were programmed to those that are.
type transition struct{ old, next []plan.Port }

func (t *transition) add(old, next []plan.Port) {
	t.old, t.next = append(t.old, old...), append(t.next, next...)
}

// check says what someone else changed; empty for nothing.
func (f *family) check(ctx context.Context) (string, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, updateTimeout, errHangs)
	defer cancel()
	found, err := f.backend.Difference(bounded)
	return found, withCause(bounded, err)
}

// report tells everyone that the kernel is as it should be.
func (f *family) report() {
	f.health.Updated(f.family)
	f.metrics.NoLocalEndpoints(f.family, f.noLocal[0], f.noLocal[1])
	if counter, ok := f.backend.(backend.RuleCounter); ok {
		for table, count := range counter.RuleCounts() {
			f.metrics.Rules(f.family, table, count.Total, count.Last)
		}
	}
}

// portsOf are those ports that are of the family.
func (f *family) portsOf(ports []plan.Port) []plan.Port {
	own := 0
	for i := range ports {
		if ports[i].Family() == f.family {
			own++
		}
	}
	switch own {
	case 0:
		return nil
	case len(ports):
		return ports
	}
	kept := make([]plan.Port, 0, own)
	for i := range ports {
		if ports[i].Family() == f.family {
			kept = append(kept, ports[i])
		}
	}
	return kept
}

func (f *family) countNoLocal(ports []plan.Port, by int) {
	for i := range ports {
		port := &ports[i]
		if !port.HasEndpoints || len(port.Local) > 0 {
			continue
		}
		if port.InternalLocal {
			f.noLocal[0] += by
		}
		if port.ExternalLocal && port.External() {
			f.noLocal[1] += by
		}
	}
}

func equalPorts(a, b []plan.Port) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(&b[i]) {
			return false
		}
	}
	return true
}

// equalButEndpoints says whether ports differ at most in which endpoints they have, and not in whether they have any.
func equalButEndpoints(a, b plan.Port) bool {
	if len(a.Cluster) == 0 != (len(b.Cluster) == 0) || len(a.Local) == 0 != (len(b.Local) == 0) {
		return false
	}
	b.Cluster, b.Local, b.Draining, b.Hairpin = a.Cluster, a.Local, a.Draining, a.Hairpin
	return a.Equal(&b)
}

// errHangs is the cause of contexts that end because the kernel or a program that programs it does not come back.
var errHangs = errors.New("it hangs")

// withCause says why ctx ended, if it did, in err.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
