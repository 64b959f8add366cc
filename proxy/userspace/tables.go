package userspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/kubelite/kubelite/internal/netfilter"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// tables are the iptables of one family in the calling thread's network namespace.
type tables struct {
	command string // iptables or ip6tables
	nft     bool   // it programs nf_tables, and not the kernel's older x_tables
}

// kernelRules are the rules of each chain, as iptables-save prints them after "-A CHAIN ".
type kernelRules map[chain][]string

func newTables(family corev1.IPFamily) (tables, error) {
	t := tables{command: "iptables"}
	if family == corev1.IPv6Protocol {
		t.command = "ip6tables"
	}
	version, err := run(context.Background(), "", t.command+"-restore", "--version")
	t.nft = strings.Contains(version, "nf_tables")
	return t, err
}

// restore applies the text. Each table in it changes at once or not at all; rules of other programs stay.
func (t tables) restore(ctx context.Context, text string) error {
	_, err := run(ctx, text, t.command+"-restore", "--noflush", "--wait", "5")
	return err
}

func (t tables) save(ctx context.Context) (kernelRules, error) {
	text, err := run(ctx, "", t.command+"-save")
	if err != nil {
		return nil, err
	}
	all, table := kernelRules{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			all[chain{table, name}] = nil
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[3:], " ")
			all[chain{table, name}] = append(all[chain{table, name}], rule)
		}
	}
	return all, nil
}

// jumps are the rules that lead into the mode's chains from outside.
func (k kernelRules) jumps() rules {
	found := rules{}
	for from, all := range k {
		for _, rule := range all {
			if slices.Contains(chains, chain{from.table, target(rule)}) {
				found[from] = append(found[from], rule)
			}
		}
	}
	return found
}

func run(ctx context.Context, input, name string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, arguments...)
	var output, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &output, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the proxy, and not for what it has begun
	switch err := cmd.Run(); {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("run %s: %w; install the package iptables", name, err)
	case err != nil:
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return output.String(), nil
}

// transaction is the input of one iptables-restore --noflush.
type transaction struct{ nat, filter []string }

func (t *transaction) line(c chain, text string) {
	if c.table == tableNAT {
		t.nat = append(t.nat, text)
	} else {
		t.filter = append(t.filter, text)
	}
}

// change turns one Service's rules into others. What is the same in a chain stays; what is not is written again in its order.
func (t *transaction) change(old, next rules) {
	for _, c := range chains {
		if slices.Equal(old[c], next[c]) {
			continue
		}
		for _, rule := range old[c] {
			t.line(c, "-D "+c.name+" "+rule)
		}
		for _, rule := range next[c] {
			t.line(c, "-A "+c.name+" "+rule)
		}
	}
}

func (t *transaction) empty() bool { return len(t.nat)+len(t.filter) == 0 }

// String begins with the table nat: what has endpoints now is led to them before it is no longer refused.
func (t *transaction) String() string {
	var text strings.Builder
	for _, table := range []struct {
		name  string
		lines []string
	}{{tableNAT, t.nat}, {tableFilter, t.filter}} {
		if len(table.lines) > 0 {
			fmt.Fprintf(&text, "*%s\n%s\nCOMMIT\n", table.name, strings.Join(table.lines, "\n"))
		}
	}
	return text.String()
}

// replaceAll is the transaction that makes the mode's chains hold exactly the rules of all services, and each of its jumps
// be there once.
func replaceAll(kernel kernelRules, services map[types.NamespacedName]rules, options backend.Options) string {
	t := &transaction{}
	for _, c := range chains {
		t.line(c, ":"+c.name+" - [0:0]")
	}
	for from, found := range kernel.jumps() {
		for _, rule := range found {
			t.line(from, "-D "+from.name+" "+rule)
		}
	}
	for _, jump := range jumps(options) {
		t.line(jump.from, jump.edit+" "+jump.from.name+" "+jump.rule)
	}
	for _, name := range plan.SortedNames(services) {
		t.change(nil, services[name])
	}
	return t.String()
}

// observation is the state of nf_tables in which the rules were found as written.
type observation struct {
	generation uint32
	valid      bool
}

// Difference implements backend.Backend. With nf_tables it costs one netlink message where nothing at all changed.
func (b *Backend) Difference(ctx context.Context) (string, error) {
	var now observation
	if b.tables.nft {
		generation, err := netfilter.Generation()
		if err != nil {
			return "", err
		}
		if now = (observation{generation, true}); now == b.seen {
			return "", nil
		}
	}
	kernel, err := b.tables.save(ctx)
	if err != nil {
		return "", err
	}
	expected := rules{}
	for _, service := range b.written {
		for c, rules := range service {
			expected[c] = append(expected[c], rules...)
		}
	}
	for _, c := range chains {
		if missing, added := compare(expected[c], kernel[c]); missing+added > 0 {
			return fmt.Sprintf("chain %s of table %s: %d rules missing, %d added", c.name, c.table, missing, added), nil
		}
	}
	expected, found := rules{}, kernel.jumps()
	for _, jump := range jumps(b.options) {
		expected[jump.from] = append(expected[jump.from], jump.rule)
	}
	for from := range expected {
		if missing, added := compare(expected[from], found[from]); missing+added > 0 {
			return fmt.Sprintf("chain %s of table %s: %d jumps missing, %d added", from.name, from.table, missing, added), nil
		}
	}
	b.seen = now
	return "", nil
}

// compare counts the rules that are in only one of the two, whatever their order.
func compare(expected, found []string) (missing, added int) {
	count := make(map[string]int, len(expected))
	for _, rule := range expected {
		count[rule]++
	}
	for _, rule := range found {
		count[rule]--
	}
	for _, n := range count {
		missing, added = missing+max(n, 0), added+max(-n, 0)
	}
	return missing, added
}

// Cleanup removes every trace of the mode from the calling thread's network namespace, of both families. Nothing there is
// no error, and neither is a family whose iptables is not installed: it cannot have been programmed.
func Cleanup(ctx context.Context) error {
	var failures []error
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		err := cleanup(ctx, family)
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			failures = append(failures, fmt.Errorf("remove the %s rules of mode userspace: %w", family, err))
		}
	}
	return errors.Join(failures...)
}

func cleanup(ctx context.Context, family corev1.IPFamily) error {
	t, err := newTables(family)
	if err != nil {
		return err
	}
	if there, err := t.mayHaveTraces(family); err != nil || !there {
		return err
	}
	kernel, err := t.save(ctx)
	if err != nil {
		return err
	}
	edit := &transaction{}
	for from, found := range kernel.jumps() {
		for _, rule := range found {
			edit.line(from, "-D "+from.name+" "+rule)
		}
	}
	for _, c := range chains {
		if _, exists := kernel[c]; exists {
			edit.line(c, "-F "+c.name)
			edit.line(c, "-X "+c.name)
		}
	}
	if edit.empty() {
		return nil
	}
	return t.restore(ctx, edit.String())
}

// mayHaveTraces is false where a look at the mode's chains, without which no rule can lead to them, finds none. That is worth a look of
// its own: all rules of another mode may take seconds to read.
func (t tables) mayHaveTraces(family corev1.IPFamily) (bool, error) {
	if !t.nft {
		return true, nil
	}
	var wanted []netfilter.Chain
	for _, c := range chains {
		wanted = append(wanted, netfilter.Chain{Table: c.table, Name: c.name})
	}
	return netfilter.HasAny(family, wanted)
}
