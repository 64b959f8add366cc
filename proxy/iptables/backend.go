package iptables

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/vishvananda/netlink/nl"
	"k8s.io/apimachinery/pkg/types"
)

// Backend makes the rules of a network namespace equal to plans. It is not safe for concurrent use, and all its methods
// must be called on threads in the same network namespace.
type Backend struct {
	options backend.Options
	tool    tool
	// state is what was programmed last.
	state state
	// last counts the rules that the last Replace or Update wrote.
	last counts
	// otherCleaned is set when the rules of the other variant of iptables have been looked for.
	otherCleaned bool

	// found is what Difference said last. countsOnly is set when that stays the same although all was written again: where
	// iptables-save prints rules in other words than they were written in, comparing them leads nowhere.
	found      string
	countsOnly bool
	seen       seen
	// socket is kept once it was needed: closing it would wait until the kernel has let go of all that was deleted, 15 ms.
	socket *nl.NetlinkSocket
}

// New makes a backend. It finds out which iptables is installed and changes nothing.
func New(options backend.Options) (*Backend, error) {
	t, err := installed(options.Family)
	if err != nil {
		return nil, err
	}
	return newBackend(options, t)
}

func newBackend(options backend.Options, t tool) (*Backend, error) {
	l, err := newLayout(options)
	if err != nil {
		return nil, err
	}
	return &Backend{options: options, tool: t, state: newState(l, boundsOf(t))}, nil
}

// Replace makes the kernel equal to the whole plan, whatever is there now. What is already right is left untouched, so
// that nothing that works stops working. After an error the kernel is somewhere between; call Replace again.
func (b *Backend) Replace(ctx context.Context, p plan.Plan) error {
	b.seen, b.last = seen{}, counts{}
	before, err := b.tool.generation()
	if err != nil {
		return err
	}
	kernel, err := b.tool.save(ctx, builtinAndShared)
	if err != nil {
		return err
	}
	l, err := newLayout(b.options)
	if err != nil {
		return err
	}
	if !l.LocalhostNodePorts {
		if err := closeLocalnet(kernel); err != nil {
			return fmt.Errorf("program all Services: %w", err)
		}
	}
	replacement := replace(kernel, p, l, boundsOf(b.tool))
	for _, step := range replacement.steps {
		if err := b.tool.restore(ctx, step.String()); err != nil {
			return fmt.Errorf("program all Services: %w", err)
		}
		b.last.addWritten(step)
	}
	b.state = replacement.state
	for _, step := range replacement.cleanup {
		// A chain that another program refers to cannot be deleted. It does no harm where it is.
		if err := b.tool.restore(ctx, step.String()); err != nil {
			slog.Warn("stale chains stay", "error", err)
			b.state.leave(step)
		}
	}
	if b.tool.nft || len(replacement.steps)+len(replacement.cleanup) == 0 {
		// What someone else changed meanwhile makes it another generation; only with x_tables that cannot be told from what was written.
		b.seen = seen{valid: true, generation: before, at: time.Now()}
	}
	return b.cleanUpOther(ctx)
}

// cleanUpOther removes, once, what was left when the machine's iptables was the other variant: its rules would still be in force.
func (b *Backend) cleanUpOther(ctx context.Context) error {
	if b.otherCleaned {
		return nil
	}
	others, err := tools(b.options.Family)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other.nft == b.tool.nft {
			continue
		}
		kernel, err := other.save(ctx, builtinAndShared)
		if err == nil && !b.state.layout.LocalhostNodePorts { // else the sysctl is needed, and guarded by this variant now
			err = closeLocalnet(kernel)
		}
		if err == nil {
			err = other.removeRules(ctx, kernel)
		}
		if err != nil {
			return fmt.Errorf("clean up the rules of %s: %w", other.prefix, err)
		}
	}
	b.otherCleaned = true
	return nil
}

// Update programs changed Services: those in changed get exactly the rules of their new ports, those with no ports lose
// all theirs. After an error the kernel is somewhere between; call Replace.
func (b *Backend) Update(ctx context.Context, changed plan.Plan) error {
	if b.state.large(changed) != b.state.layout.withoutEndpointComments {
		return b.Replace(ctx, b.state.with(changed)) // all rules for endpoints are written in another way
	}
	b.last = counts{}
	for batch := range slices.Chunk(plan.SortedNames(changed), b.state.bounds.services) {
		next := make(plan.Plan, len(batch))
		for _, name := range batch {
			next[name] = changed[name]
		}
		update := b.state.update(next)
		if update.step.empty() {
			b.state.commit(update) // what does not show in rules changed, like an endpoint that drains
			continue
		}
		b.seen.writing(b.tool)
		if err := b.program(ctx, update.step); err != nil {
			return fmt.Errorf("program %d changed Services: %w", len(batch), err)
		}
		b.state.commit(update)
		b.last.addWritten(update.step)
		b.seen.wrote(b.tool)
	}
	return nil
}

// with is the whole plan with the changed Services in place of theirs.
func (s *state) with(changed plan.Plan) plan.Plan {
	all := maps.Clone(s.services)
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ types.NamespacedName, ports []plan.Port) bool { return len(ports) == 0 })
	return all
}
