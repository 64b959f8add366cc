package proxy

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/conntrack"
	"github.com/kubelite/kubelite/proxy/plan"
	"k8s.io/apimachinery/pkg/types"
)

// retryInterval is the pause between a Replace that went wrong and the next try.
const retryInterval = time.Second

// stopGrace is how long what is being written when the proxy is told to stop may still take.
const stopGrace = 10 * time.Second

// programmer brings what is watched into the kernel. Its methods run on one goroutine, in the node's network namespace.
type programmer struct {
	watched *watched
	backend backend.Backend
	node    plan.Node
	current plan.Plan
}

// run programs everything once, then what changes, until ctx is done; what is being written then is finished. It returns an error
// when the first time fails.
func (p *programmer) run(ctx context.Context, checkInterval time.Duration) error {
	writing, cancel := outlive(ctx, stopGrace)
	defer cancel()
	if err := p.replace(writing); err != nil && ctx.Err() == nil {
		return err
	}
	check := time.NewTimer(checkInterval)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.watched.wake:
			if err := p.update(writing, p.watched.take()); err != nil {
				slog.Error("change the rules; programming all again", "error", err)
				p.replaceUntilDone(ctx, writing)
			}
		case <-check.C:
			took := p.check(ctx, writing)
			check.Reset(max(checkInterval, 20*took)) // never more than a twentieth of the time
		}
	}
}

// update programs the changed Services.
func (p *programmer) update(ctx context.Context, names map[types.NamespacedName]bool) error {
	changed, gone := plan.Plan{}, []plan.Port{}
	var ports []plan.Port
	for name := range names {
		next, err := p.watched.plan(name, p.node)
		if err != nil {
			return err
		}
		if len(next) == 0 && len(p.current[name]) == 0 {
			continue
		}
		changed[name] = next
		gone, ports = append(gone, p.current[name]...), append(ports, next...)
	}
	if len(changed) == 0 {
		return nil
	}
	if err := p.backend.Update(ctx, changed); err != nil {
		return err
	}
	for name, next := range changed {
		if len(next) == 0 {
			delete(p.current, name)
		} else {
			p.current[name] = next
		}
	}
	deleteStale(ports, gone)
	return nil
}

// replace programs everything that is watched.
func (p *programmer) replace(ctx context.Context) error {
	p.watched.take()
	next, ports := plan.Plan{}, []plan.Port{}
	for _, key := range p.watched.services.Objects().ListKeys() {
		name := namespacedName(key)
		planned, err := p.watched.plan(name, p.node)
		if err != nil {
			return err
		}
		if len(planned) > 0 {
			next[name] = planned
			ports = append(ports, planned...)
		}
	}
	started := time.Now()
	if err := p.backend.Replace(ctx, next); err != nil {
		return err
	}
	var gone []plan.Port
	for _, old := range p.current {
		gone = append(gone, old...)
	}
	p.current = next
	deleteStale(ports, gone)
	slog.Info("programmed all Services", "services", len(next), "took", time.Since(started))
	return nil
}

// replaceUntilDone tries until it succeeds or ctx is done.
func (p *programmer) replaceUntilDone(ctx, writing context.Context) {
	for {
		err := p.replace(writing)
		if err == nil {
			return
		}
		slog.Error("program all Services; trying again", "error", err, "after", retryInterval)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryInterval):
		}
	}
}

// check programs everything again if someone else changed the rules. It returns how long looking took.
func (p *programmer) check(ctx, writing context.Context) time.Duration {
	started := time.Now()
	found, err := p.backend.Difference(writing)
	took := time.Since(started)
	switch {
	case err != nil:
		slog.Error("compare the rules", "error", err)
	case found != "":
		slog.Warn("someone else changed the rules; programming all again", "found", found)
		p.replaceUntilDone(ctx, writing)
	}
	return took
}

func deleteStale(ports, gone []plan.Port) {
	deleted, err := conntrack.DeleteStale(conntrack.ServicesOf(ports, gone))
	if err != nil {
		slog.Error("connections of UDP clients may still lead to where their Service was", "error", err)
	}
	if deleted > 0 {
		slog.Info("deleted stale UDP conntrack entries", "entries", deleted)
	}
}

func namespacedName(key string) types.NamespacedName {
	namespace, name, _ := strings.Cut(key, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}
