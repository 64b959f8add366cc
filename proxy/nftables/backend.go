package nftables

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Backend makes the table of one address family in a network namespace equal to plans. It is not safe for concurrent use.
type Backend struct {
	layout
	connection *connection
	// state is what was programmed last; nil before the first Replace.
	state *state
	// seen is the generation at which the kernel was last found as written; valid only with seenValid.
	seen      uint32
	seenValid bool
}

// New makes a backend. It asks the kernel whether it has everything that the rules need, and changes nothing. The error of a kernel that
// lacks something names what to load or to configure.
func New(options backend.Options) (*Backend, error) {
	l := layout{family: unix.NFPROTO_IPV4, options: options}
	if options.Family == corev1.IPv6Protocol {
		l.family = unix.NFPROTO_IPV6
	}
	c, err := dial()
	if err != nil {
		return nil, err
	}
	if err := c.probe(l); err != nil {
		c.close()
		return nil, err
	}
	b := &Backend{layout: l, connection: c}
	runtime.AddCleanup(b, func(c *connection) { c.close() }, c)
	return b, nil
}

// refillFrom is the number of elements from which on Replace writes them all rather than reading them.
const refillFrom = 150_000

// replaceAttempts is how often Replace starts again because someone else changed rules while it read them.
const replaceAttempts = 10

// Replace makes the table equal to the whole plan in one transaction, whatever is there now. Of a table with the right constant part only elements
// are changed, those that differ; any other is deleted and made anew in the same transaction.
func (b *Backend) Replace(_ context.Context, p plan.Plan) error {
	next := newState(b.layout, len(p))
	next.fill(p)
	return b.program(next)
}

func (b *Backend) program(next *state) error {
	b.seenValid = false
	var err error
	for attempt := 1; ; attempt++ {
		err = b.replace(next)
		if !errors.Is(err, unix.ERESTART) || attempt == replaceAttempts {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("program all Services: %w", err)
	}
	b.state = next
	return b.forget()
}

// replace fails with ERESTART if anything in the network namespace's nf_tables was changed since it began to read.
func (b *Backend) replace(next *state) error {
	c := b.connection
	generation, err := c.generation()
	if err != nil {
		return err
	}
	found, err := c.readTable(b.layout)
	if err != nil {
		return err
	}
	change := newBatch(b.layout, tableName, generation)
	intact, count := found.exists && found.damage == "", 0
	if intact {
		counts := next.counts()
		intact, count = found.sizes.hold(counts), total(counts)
	}
	switch {
	case intact && count > refillFrom:
		change.reserve(len(next.services))
		next.refill(found.chains, change)
		return b.finishReplace(change, generation)
	case intact:
		err := next.adopt(found.chains, func(f func(element) error) error { return c.readElements(b.layout, f) }, change)
		if err != nil && !errors.Is(err, errUnknownElement) {
			return err
		}
		if err == nil {
			return b.finishReplace(change, generation)
		}
		change = newBatch(b.layout, tableName, generation)
	}
	var remembered []memory
	if found.exists {
		remembered = b.memories()
		change.deleteTable()
	}
	change.addTable()
	change.reserve(len(next.services))
	next.write(change)
	change.makeRoom()
	for _, m := range remembered {
		change.addMemory(m)
	}
	return b.finishReplace(change, generation)
}

func (b *Backend) finishReplace(change *batch, generation uint32) error {
	if err := commit(b.connection, change); err != nil {
		return err
	}
	// A change by someone else after that is found by the next Difference.
	b.seen, b.seenValid = generation, true
	return nil
}

// Update programs changed Services in one transaction.
func (b *Backend) Update(_ context.Context, changed plan.Plan) error {
	if b.state == nil {
		return errors.New("program changed Services: nothing was programmed yet")
	}
	change := newBatch(b.layout, tableName, 0)
	outdated := b.state.update(changed, change)
	if change.empty() {
		return nil
	}
	err := commit(b.connection, change)
	if errors.Is(err, unix.ENFILE) { // a set is full: all is written anew, with more room
		return b.program(b.state)
	}
	if err != nil {
		return fmt.Errorf("program %d changed Services: %w", len(changed), err)
	}
	if outdated {
		return b.forget()
	}
	return nil
}

// Difference says where the table is not as it was programmed; empty when it is. As long as only this process changed rules, it costs
// one netlink message.
func (b *Backend) Difference(context.Context) (string, error) {
	if b.state == nil {
		return "nothing was programmed yet", nil
	}
	current, err := b.connection.generation()
	if err != nil {
		return "", err
	}
	if b.seenValid {
		ours, err := onlyOurs(b.seen, current)
		if err != nil {
			return "", err
		}
		if ours {
			b.seen = current
			return "", nil
		}
	}
	found, err := b.compare()
	if err != nil {
		return "", err
	}
	// The generation was read before the rules: a change in between is looked at the next time.
	b.seen, b.seenValid = current, found == ""
	return found, nil
}

func (b *Backend) compare() (string, error) {
	found, err := b.connection.readTable(b.layout)
	switch {
	case err != nil:
		return "", err
	case !found.exists:
		return b.describe("is gone"), nil
	case found.damage != "":
		return b.describe(found.damage), nil
	}
	for made := range b.state.uses {
		if !found.chains[made] {
			return b.describe("chain " + made.name() + " is gone"), nil
		}
	}
	for made := range found.chains {
		if b.state.uses[made] == 0 {
			return b.describe("chain " + made.name() + " belongs to no Service"), nil
		}
	}
	other, err := b.connection.difference(b.state)
	if errors.Is(err, errUnknownElement) {
		return b.describe(err.Error()), nil
	}
	if err != nil || other == "" {
		return "", err
	}
	return b.describe(other), nil
}

func (b *Backend) describe(found string) string {
	if b.family == unix.NFPROTO_IPV6 {
		return "table ip6 " + tableName + ": " + found
	}
	return "table ip " + tableName + ": " + found
}
