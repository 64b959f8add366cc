package iptables

import (
	"context"
	"fmt"
	"github.com/kubelite/kubelite/proxy/backend"
	"log/slog"
	"maps"
	"slices"

	"github.com/kubelite/kubelite/internal/netfilter"
	"github.com/kubelite/kubelite/proxy/plan"
	"k8s.io/apimachinery/pkg/types"
)

// Backend makes the rules of a network namespace equal to plans. It is not safe for concurrent use, and all its methods
// must be called on threads in the same network namespace.
type Backend struct {
	options backend.Options
	jumps   []jump
	nft     bool

	// state is what was programmed last.
	state state
	// found is what Difference said last. countsOnly is set when that stays the same although all was written again: where
	// iptables-save prints rules in other words than they were written in, comparing them leads nowhere.
	found      string
	countsOnly bool
	// seen is the generation at which the kernel was last found as written; valid only with seenValid.
	seen      uint32
	seenValid bool
}

// New makes a backend. It finds out which iptables is installed and changes nothing.
func New(options backend.Options) (*Backend, error) {
	nft, err := usesNFTables()
	if err != nil {
		return nil, err
	}
	options.ClusterCIDR = options.ClusterCIDR.Masked()
	return &Backend{
		options: options,
		jumps:   jumps(options),
		nft:     nft,
		state:   newState(options),
	}, nil
}

// Replace makes the kernel equal to the whole plan, whatever is there now. What is already right is left untouched, so
// that nothing that works stops working. After an error the kernel is somewhere between; call Replace again.
func (b *Backend) Replace(ctx context.Context, p plan.Plan) error {
	kernel, err := b.read(ctx)
	if err != nil {
		return err
	}
	services := make(map[types.NamespacedName]serviceRules, len(p))
	for name, ports := range p {
		services[name] = rulesOf(ports, b.options)
	}
	replacement := replace(kernel, services, b.options)
	for _, step := range replacement.steps {
		if err := restore(ctx, step.String()); err != nil {
			return fmt.Errorf("program all Services: %w", err)
		}
	}
	b.state, b.seenValid = replacement.state, false
	for _, step := range replacement.cleanup {
		// A chain that another program refers to cannot be deleted. It does no harm where it is.
		if err := restore(ctx, step.String()); err != nil {
			slog.Warn("stale chains stay", "error", err)
		}
	}
	return nil
}

// Update programs changed Services: those in changed get exactly the rules of their new ports, those with no ports lose
// all theirs. After an error the kernel is somewhere between; call Replace.
func (b *Backend) Update(ctx context.Context, changed plan.Plan) error {
	names := sortedNames(changed)
	for batch := range slices.Chunk(names, servicesPerTransaction) {
		next := make(map[types.NamespacedName]serviceRules, len(batch))
		for _, name := range batch {
			next[name] = rulesOf(changed[name], b.options)
		}
		update := b.state.update(next)
		if update.step.empty() {
			continue
		}
		if err := restore(ctx, update.step.String()); err != nil {
			return fmt.Errorf("program %d changed Services: %w", len(batch), err)
		}
		b.state.commit(update)
		b.seenValid = false
	}
	return nil
}

// Difference says where the kernel's rules are not what was last programmed; empty when they are. Where nothing at all
// changed since it last looked, it costs one netlink message.
func (b *Backend) Difference(ctx context.Context) (string, error) {
	var current uint32
	if b.nft {
		var err error
		if current, err = netfilter.Generation(); err != nil {
			return "", err
		}
		if b.seenValid && current == b.seen {
			return "", nil
		}
	}
	kernel, err := b.read(ctx)
	if err != nil {
		return "", err
	}
	found := expectation{b.state.written, b.jumps, b.countsOnly}.difference(kernel)
	if found != "" && found == b.found && (expectation{b.state.written, b.jumps, true}).difference(kernel) == "" {
		slog.Warn("iptables-save prints rules in other words than they were written in; from now on they are only counted", "found", found)
		b.countsOnly, found = true, ""
	}
	// The generation was read before the rules: a change in between is looked at the next time.
	b.found, b.seen, b.seenValid = found, current, b.nft && found == ""
	return found, nil
}

func (b *Backend) read(ctx context.Context) (ruleset, error) {
	text, err := save(ctx)
	if err != nil {
		return nil, err
	}
	return parseSave(text)
}

func sortedNames[V any](services map[types.NamespacedName]V) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(services), func(a, b types.NamespacedName) int {
		if a.Namespace != b.Namespace {
			if a.Namespace < b.Namespace {
				return -1
			}
			return 1
		}
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
}
