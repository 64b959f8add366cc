package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-iptables/iptables"

	"github.com/kubelite/kubelite/internal/netfilter"
)

const (
	// checkInterval is how often Keep asks whether anyone changed a rule, which is one netlink message.
	checkInterval = 3 * time.Second
	// checkAnyway is how often it reads the rules although the kernel says that none changed: an iptables of the older kind
	// changes them without being counted.
	checkAnyway = 30 * time.Second
)

// ruleset is the rules of the nat table that lead to this package's chains or are in them, by chain, as iptables-save prints
// them after "-A CHAIN ".
type ruleset map[string][]string

// ownChain says whether the chain is this package's.
func ownChain(name string) bool {
	return name == masqueradeChain || strings.HasPrefix(name, podPrefix) || slices.Contains([]string{hostPortChain, setMarkChain, masqChain}, name)
}

// ownRules picks this package's rules out of the output of iptables-save.
func ownRules(saved string) ruleset {
	own := ruleset{}
	for line := range strings.Lines(saved) {
		line = strings.TrimSuffix(line, "\n")
		if declaration, ok := strings.CutPrefix(line, ":"); ok {
			if name, _, _ := strings.Cut(declaration, " "); ownChain(name) {
				own[name] = []string{}
			}
			continue
		}
		appended, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		name, rule, _ := strings.Cut(appended, " ")
		target := rule[strings.LastIndex(rule, " ")+1:]
		if ownChain(name) || ownChain(target) {
			own[name] = append(own[name], rule)
		}
	}
	return own
}

// mending is the input of iptables-restore that makes of found what is wanted, and what was not; both are empty if all is well.
// Chains of this package are written anew. To a chain of others only what is missing is added, at its end.
func mending(wanted, found ruleset) (input, difference string) {
	var declarations, rules []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		there, exists := found[name]
		if exists && slices.Equal(there, wanted[name]) {
			continue
		}
		missing := wanted[name]
		if ownChain(name) {
			declarations = append(declarations, ":"+name+" - [0:0]\n")
		} else {
			missing = slices.DeleteFunc(slices.Clone(missing), func(rule string) bool { return slices.Contains(there, rule) })
			if len(missing) == 0 {
				continue
			}
		}
		if difference == "" {
			difference = fmt.Sprintf("chain %s of table nat has %d rules instead of %d", name, len(there), len(wanted[name]))
		}
		for _, rule := range missing {
			rules = append(rules, "-A "+name+" "+rule+"\n")
		}
	}
	if difference == "" {
		return "", ""
	}
	return "*nat\n" + strings.Join(declarations, "") + strings.Join(rules, "") + "COMMIT\n", difference
}

// remember takes what is in the kernel now for what is to stay there. The caller holds the mutex.
func (n *Node) remember(family iptables.Protocol) error {
	saved, err := saveNAT(family)
	if err != nil {
		return err
	}
	n.rules[family] = ownRules(saved)
	return nil
}

// mend writes again what someone else removed of this package's rules. It returns what was found; empty if all was well.
func (n *Node) mend() (found string, err error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	var differences []string
	var failures []error
	for _, family := range slices.Sorted(maps.Keys(n.rules)) {
		difference, err := mendFamily(family, n.rules[family])
		if difference != "" {
			differences = append(differences, difference)
		}
		failures = append(failures, err)
	}
	return strings.Join(differences, "; "), errors.Join(failures...)
}

// mendFamily makes of a family's rules what is wanted. It returns what it found; empty if all was well.
func mendFamily(family iptables.Protocol, wanted ruleset) (found string, err error) {
	saved, err := saveNAT(family)
	if err != nil {
		return "", err
	}
	input, difference := mending(wanted, ownRules(saved))
	if difference == "" {
		return "", nil
	}
	found = programOf(family) + ": " + difference
	command := exec.Command(programOf(family)+"-restore", "--noflush", "--wait", "5")
	command.Stdin = strings.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		return found, fmt.Errorf("run %s-restore: %w: %s", programOf(family), err, bytes.TrimSpace(output))
	}
	return found, nil
}

// Keep mends the routes and rules of the process's network namespace whenever someone else has changed them, until ctx is done.
func (n *Node) Keep(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		if err := n.keepRoutes(ctx); err != nil {
			slog.Error("routes that somebody deletes stay away", "error", err)
		}
	})
	next := time.NewTimer(checkInterval)
	defer next.Stop()
	var seen uint32
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(checkInterval)
		generation, err := netfilter.Generation()
		if err == nil && generation == seen && time.Since(looked) < checkAnyway {
			continue
		}
		began := time.Now()
		found, err := n.mend()
		// Reading takes long where Services have many rules: never more than a twentieth of the time.
		next.Reset(max(checkInterval, 20*time.Since(began)))
		switch {
		case err != nil:
			slog.Error("mend the rules of the Pod network", "error", err, "found", found)
			continue
		case found != "":
			slog.Warn("someone else changed the rules of the Pod network; they were written again", "found", found)
		}
		// The number was read before the rules: a change in between is looked at the next time.
		seen, looked = generation, time.Now()
	}
}

// saveNAT is a family's nat table as iptables-save, or ip6tables-save, prints it.
func saveNAT(family iptables.Protocol) (string, error) {
	output, err := exec.Command(programOf(family)+"-save", "-t", "nat").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("run %s-save: %w: %s", programOf(family), err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return "", fmt.Errorf("run %s-save: %w", programOf(family), err)
	}
	return string(output), nil
}
