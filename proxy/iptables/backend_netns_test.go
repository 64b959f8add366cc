package iptables

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// inNamespace runs f on a thread in a fresh network namespace with its loopback up. f must not call t.Fatal.
func inNamespace(t testing.TB, f func() error) {
	t.Helper()
	path := netnstest.New(t)
	err := netns.Do(path, func() error {
		if output, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("set lo up: %w: %s", err, output)
		}
		return f()
	})
	if err != nil {
		t.Error(err)
	}
}

// variants calls f with each variant of iptables that is installed for the family.
func variants(t *testing.T, family corev1.IPFamily, f func(*testing.T, tool)) {
	t.Helper()
	found, err := tools(family)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 2 {
		t.Errorf("%d variants of iptables are installed, two are needed", len(found))
	}
	for _, one := range found {
		t.Run(one.prefix, func(t *testing.T) { f(t, one) })
	}
}

// someoneElse changes rules as another program would.
func someoneElse(t tool, text string) error {
	return run(exec.Command(t.prefix+"-restore", "--noflush"), strings.NewReader(text), nil)
}

// savedRules is what iptables-save prints, without its comments and counters.
func savedRules(t tool) (string, error) {
	output, err := exec.Command(t.prefix + "-save").Output()
	if err != nil {
		return "", err
	}
	var kept strings.Builder
	for _, line := range strings.Split(string(output), "\n") {
		if line != "" && line[0] != '#' {
			kept.WriteString(line + "\n")
		}
	}
	return kept.String(), nil
}

// inEachVariant programs the file's Services in a fresh namespace with each variant of iptables, and then calls f.
func inEachVariant(t *testing.T, path string, options backend.Options, f func(*testing.T, *Backend, plan.Plan) error) {
	t.Helper()
	p := readPlan(t, path, options.Family)
	variants(t, options.Family, func(t *testing.T, one tool) {
		inNamespace(t, func() error {
			b, err := newBackend(options, one)
			if err != nil {
				return err
			}
			if err := b.Replace(context.Background(), p); err != nil {
				return err
			}
			return f(t, b, p)
		})
	})
}

// Both variants print the same rules, and they are what was meant.
func TestNetnsSavedRules(t *testing.T) {
	for golden, options := range map[string]backend.Options{"services.save": nodeOptions, "services6.save": node6Options} {
		inEachVariant(t, "testdata/services.yaml", options, func(t *testing.T, b *Backend, _ plan.Plan) error {
			saved, err := savedRules(b.tool)
			if err != nil {
				return err
			}
			checkGolden(t, "testdata/"+golden, sortedSave(saved))
			found, err := b.Difference(context.Background())
			if found != "" {
				t.Errorf("difference right after programming: %s", found)
			}
			return err
		})
	}
}

// sortedSave sorts tables and chains, which each variant prints in another order. A chain's rules stay in theirs.
func sortedSave(saved string) string {
	kernel, table := fakeKernel{rules: ruleset{}}, ""
	for _, line := range strings.Split(saved, "\n") {
		words := strings.SplitN(line, " ", 3)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":") && strings.HasPrefix(line, ":KUBE"):
			kernel.rules[chain{table, words[0][1:]}] = nil
		case strings.HasPrefix(line, "-A"):
			c := chain{table, words[1]}
			kernel.rules[c] = append(kernel.rules[c], words[2])
		}
	}
	return kernel.String()
}

// A new process finds the rules of the one before it right, and does not touch them.
func TestNetnsReplaceLeavesRightRulesAlone(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, b *Backend, p plan.Plan) error {
		next, err := newBackend(nodeOptions, b.tool)
		if err != nil {
			return err
		}
		own, err := ownCommits()
		if err != nil {
			return err
		}
		before := own.Load()
		if err := next.Replace(context.Background(), p); err != nil {
			return err
		}
		if after := own.Load(); before != after || !next.seen.valid {
			t.Errorf("%d tables were changed; seen %v", after-before, next.seen)
		}
		return nil
	})
}

// At first all rules are written, then those of what changes, then none.
func TestNetnsRuleCounts(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, b *Backend, p plan.Plan) error {
		ctx, all := context.Background(), b.RuleCounts()
		for table, count := range all {
			if count.Total != count.Last || count.Total == 0 {
				t.Errorf("table %s: %d of %d rules were written first", table, count.Last, count.Total)
			}
		}
		name := types.NamespacedName{Namespace: "default", Name: "numbers-web"}
		rules := b.state.layout.rules(p[name])
		own, sharedByAll := counts{}, 0
		own.add(rules, 1)
		for _, c := range []chain{natServices, natNodePorts} { // where it has rules; short ones are written as a whole
			sharedByAll += len(b.state.texts(c, b.state.shared[c])) - len(rules.shared[c])
		}
		for _, step := range []struct {
			about  string
			change func() error
			nat    backend.RuleCount
		}{
			{"one is gone", func() error { return b.Update(ctx, plan.Plan{name: nil}) }, backend.RuleCount{Total: all[tableNAT].Total - own[tableNAT], Last: sharedByAll}},
			{"nothing", func() error { return b.Update(ctx, plan.Plan{name: nil}) }, backend.RuleCount{Total: all[tableNAT].Total - own[tableNAT]}},
			{"it is back", func() error { return b.Update(ctx, plan.Plan{name: p[name]}) }, backend.RuleCount{Total: all[tableNAT].Total, Last: sharedByAll + own[tableNAT]}},
			{"all at once", func() error { return b.Replace(ctx, p) }, backend.RuleCount{Total: all[tableNAT].Total}},
		} {
			if err := step.change(); err != nil {
				return err
			}
			if actual := b.RuleCounts()[tableNAT]; actual != step.nat {
				t.Errorf("%s: %+v, expected %+v", step.about, actual, step.nat)
			}
		}
		return nil
	})
}

// What is found missing, changed or added is named, and put right.
func TestNetnsDifference(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, b *Backend, p plan.Plan) error {
		for _, test := range []struct{ damage, found string }{
			{"*nat\n-F KUBE-SERVICES\nCOMMIT\n", "chain KUBE-SERVICES of table nat has 0 rules instead of 21"},
			{"*nat\n-F PREROUTING\nCOMMIT\n", "chain PREROUTING of table nat has no rule"},
			{"*nat\n-D KUBE-SERVICES 2\nCOMMIT\n", "chain KUBE-SERVICES of table nat has 20 rules instead of 21"},
			{"*nat\n-F KUBE-SVC-NPX46M4PTMTKRN6Y\nCOMMIT\n", "chain KUBE-SVC-NPX46M4PTMTKRN6Y of table nat has 0 rules instead of 2"},
			{"*nat\n-R KUBE-MARK-MASQ 1 -j MARK --set-xmark 0x1/0x1\nCOMMIT\n", "rule 1 of chain KUBE-MARK-MASQ of table nat is"},
			{"*nat\n-R KUBE-SVC-NPX46M4PTMTKRN6Y 1 -j RETURN\nCOMMIT\n", "chain KUBE-SVC-NPX46M4PTMTKRN6Y of table nat has other rules than were written"},
			{"*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\nCOMMIT\n", "chain KUBE-SVC-AAAAAAAAAAAAAAAA of table nat belongs to no Service"},
			{"*mangle\n-X KUBE-PROXY-CANARY\nCOMMIT\n", "chain KUBE-PROXY-CANARY of table mangle is gone"},
			{"*filter\n-A INPUT -s 192.0.2.1/32 -j DROP\nCOMMIT\n", ""},
		} {
			if err := someoneElse(b.tool, test.damage); err != nil {
				return err
			}
			b.seen.at = time.Time{} // as if lookInterval had passed
			found, err := b.Difference(context.Background())
			if err != nil {
				return err
			}
			if !strings.HasPrefix(found, test.found) || found != "" && test.found == "" {
				t.Errorf("after %q found %q, expected %q", test.damage, found, test.found)
			}
			if found == "" {
				continue
			}
			if err := b.Replace(context.Background(), p); err != nil {
				return err
			}
			if found, err := b.Difference(context.Background()); found != "" || err != nil {
				t.Errorf("after %q and Replace: %s %v", test.damage, found, err)
			}
		}
		return nil
	})
}

// An own change is not looked at again; anyone else's is, also when it comes together with an own one.
func TestNetnsOwnChangesAreKnown(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, b *Backend, p plan.Plan) error {
		if _, err := b.Difference(context.Background()); err != nil {
			return err
		}
		known := func() bool {
			current, err := b.tool.generation()
			return err == nil && b.seen.unchanged(b.tool, current)
		}
		for name, ports := range p {
			for _, next := range [][]plan.Port{nil, ports} {
				if err := b.Update(context.Background(), plan.Plan{name: next}); err != nil {
					return err
				}
				if !known() {
					t.Errorf("an own change of %s is taken for someone else's", name)
				}
			}
		}
		if b.tool.nft { // nor is one of the other family's backend
			six, err := New(node6Options)
			if err != nil {
				return err
			}
			if err := six.Replace(context.Background(), nil); err != nil {
				return err
			}
			if !known() {
				t.Error("an own change of the other family is taken for someone else's")
			}
		}
		if found, err := b.Difference(context.Background()); found != "" || err != nil {
			t.Errorf("%s %v", found, err)
		}
		if err := someoneElse(b.tool, "*nat\n-F KUBE-MARK-MASQ\nCOMMIT\n"); err != nil {
			return err
		}
		if known() {
			t.Error("someone else's change was not noticed")
		}
		for name := range p {
			if err := b.Update(context.Background(), plan.Plan{name: nil}); err != nil {
				return err
			}
			break
		}
		if known() {
			t.Error("someone else's change was not noticed after an own one")
		}
		return nil
	})
}

// A chain that someone else's rule leads to cannot be deleted. It is left, and not tried again every second.
func TestNetnsChainInUseIsLeft(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, b *Backend, p plan.Plan) error {
		ctx, name := context.Background(), types.NamespacedName{Namespace: "default", Name: "numbers-web"}
		used := b.state.layout.rules(p[name]).own[0].chain
		if err := someoneElse(b.tool, "*nat\n:MINE - [0:0]\n-A MINE -j "+used.name+"\nCOMMIT\n"); err != nil {
			return err
		}
		if err := b.Update(ctx, plan.Plan{name: nil}); err == nil {
			t.Error("the chain was deleted")
		}
		p = maps.Clone(p)
		delete(p, name)
		if err := b.Replace(ctx, p); err != nil {
			return err
		}
		if found, err := b.Difference(ctx); found != "" || err != nil {
			t.Errorf("with a chain that cannot be deleted: %s %v", found, err)
		}
		if err := someoneElse(b.tool, "*nat\n-F MINE\nCOMMIT\n"); err != nil {
			return err
		}
		if err := b.Replace(ctx, p); err != nil {
			return err
		}
		kernel, err := b.tool.save(ctx, builtinAndShared)
		if err != nil {
			return err
		}
		if _, there := kernel.sums[used]; there {
			t.Errorf("%s is still there", used)
		}
		return nil
	})
}

// An iptables that prints other words does not keep the proxy writing for ever.
func TestNetnsOtherWords(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, b *Backend, _ plan.Plan) error {
		b.state.layout.nodePorts = []string{"-m other-words -j KUBE-NODEPORTS"}
		for i, expected := range []bool{true, false, false} {
			kernel, err := b.tool.save(context.Background(), builtinAndShared)
			if err != nil {
				return err
			}
			if found := b.compare(kernel); (found != "") != expected {
				t.Errorf("look %d found %q", i+1, found)
			}
		}
		if !b.countsOnly {
			t.Error("rules are still compared")
		}
		if err := someoneElse(b.tool, "*nat\n-F KUBE-MARK-MASQ\nCOMMIT\n"); err != nil {
			return err
		}
		kernel, err := b.tool.save(context.Background(), builtinAndShared)
		if err == nil && b.compare(kernel) == "" {
			t.Error("a flushed chain was not found")
		}
		return err
	})
}

const othersRules = `*nat
:MINE - [0:0]
-A PREROUTING -j MINE
-A MINE -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j RETURN
COMMIT
*filter
-A INPUT -p tcp -m comment --comment "not -j KUBE-SERVICES" -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m comment --comment "nor \" -j KUBE-SERVICES either" -m tcp --dport 23 -j ACCEPT
COMMIT
`

// Nothing of the mode is left, and everything else is.
func TestNetnsCleanup(t *testing.T) {
	inNamespace(t, func() error {
		var all []tool
		before := map[tool]string{}
		for _, options := range []backend.Options{nodeOptions, node6Options} {
			found, err := tools(options.Family)
			if err != nil {
				return err
			}
			all = append(all, found...)
			for _, one := range found {
				text := othersRules
				if one.ipv6() {
					text = strings.ReplaceAll(text, "192.0.2.1/32", "2001:db8::1/128")
				}
				if err := one.restore(context.Background(), text); err != nil {
					return err
				}
				if before[one], err = savedRules(one); err != nil {
					return err
				}
			}
			for _, one := range found {
				b, err := newBackend(options, one)
				if err != nil {
					return err
				}
				b.otherCleaned = true // both variants at once
				if err := b.Replace(context.Background(), readPlan(t, "testdata/services.yaml", options.Family)); err != nil {
					return err
				}
			}
		}
		for range 2 { // where nothing is left, nothing happens
			if err := Cleanup(context.Background()); err != nil {
				return err
			}
		}
		for _, one := range all {
			after, err := savedRules(one)
			if err != nil {
				return err
			}
			if sorted(after) != sorted(before[one]) {
				t.Errorf("%s: left is\n%s\nwhat was there is\n%s", one.prefix, after, before[one])
			}
		}
		return nil
	})
}

// sorted sorts lines, and leaves out the tables and built-in chains, which stay when they are empty.
func sorted(saved string) string {
	lines := strings.Split(saved, "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "-A") && !strings.HasPrefix(line, ":MINE") })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// With the rule that guards 127.0.0.0/8 goes the sysctl that opened it, with the mode or without; somebody else's stays.
func TestNetnsLocalnetIsClosed(t *testing.T) {
	without := nodeOptions
	without.LocalhostNodePorts = false
	for _, test := range []struct {
		about    string
		first    backend.Options
		then     func(context.Context) error
		expected string
	}{
		{"cleaned up", nodeOptions, Cleanup, "0"},
		{"cleaned up, but opened by somebody else", without, Cleanup, "1"},
		{"without node ports on 127.0.0.1 from now on", nodeOptions, func(ctx context.Context) error {
			b, err := New(without)
			if err != nil {
				return err
			}
			return b.Replace(ctx, plan.Plan{})
		}, "0"},
	} {
		t.Run(test.about, func(t *testing.T) {
			inNamespace(t, func() error {
				if err := AllowRouteLocalnet(); err != nil {
					return err
				}
				b, err := New(test.first)
				if err != nil {
					return err
				}
				if err := b.Replace(context.Background(), plan.Plan{}); err != nil {
					return err
				}
				checkRouteLocalnet(t, "1")
				if err := test.then(context.Background()); err != nil {
					return err
				}
				checkRouteLocalnet(t, test.expected)
				return nil
			})
		})
	}
}

func checkRouteLocalnet(t *testing.T, expected string) {
	t.Helper()
	actual, err := os.ReadFile(routeLocalnet)
	if err != nil || strings.TrimSpace(string(actual)) != expected {
		t.Errorf("route_localnet is %s (%v), expected %s", actual, err, expected)
	}
}

// A kubelet's KUBE-FIREWALL is not the proxy's to delete.
func TestCleanupLeavesKubeletsChain(t *testing.T) {
	kernel := &fakeKernel{rules: fromScratch(t, nil)}
	kernel.rules[chain{tableMangle, "KUBE-KUBELET-CANARY"}] = nil
	for _, step := range removal(kernel.snapshot(), nftBounds) {
		if err := kernel.restore(step.String()); err != nil {
			t.Fatal(err)
		}
	}
	for c, rules := range kernel.rules {
		for _, rule := range rules {
			if !strings.HasSuffix(rule, "-j KUBE-FIREWALL") && c != filterFirewall {
				t.Errorf("%s still has %q", c, rule)
			}
		}
	}
	if len(kernel.rules[filterFirewall]) != 1 || len(kernel.rules[chain{tableFilter, "INPUT"}]) != 1 {
		t.Errorf("KUBE-FIREWALL is gone:\n%s", kernel)
	}
}

// Rules of the variant that the machine used before are still in force: they go when the other one takes over.
func TestNetnsVariantSwitch(t *testing.T) {
	inEachVariant(t, "testdata/services.yaml", nodeOptions, func(t *testing.T, old *Backend, p plan.Plan) error {
		found, err := tools(nodeOptions.Family)
		if err != nil {
			return err
		}
		for _, one := range found {
			if one.nft == old.tool.nft {
				continue
			}
			b, err := newBackend(nodeOptions, one)
			if err != nil {
				return err
			}
			if err := AllowRouteLocalnet(); err != nil {
				return err
			}
			if err := b.Replace(context.Background(), p); err != nil {
				return err
			}
			checkRouteLocalnet(t, "1")
		}
		left, err := savedRules(old.tool)
		if strings.Contains(left, "KUBE-") {
			t.Errorf("%s still has rules:\n%s", old.tool.prefix, left)
		}
		return err
	})
}
