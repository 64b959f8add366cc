package iptables

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/internal/netfilter"
	"github.com/kubelite/kubelite/internal/netns"
)

// inNamespace runs f on a thread in a fresh network namespace with its loopback up. f must not call t.Fatal.
func inNamespace(t testing.TB, f func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("KUBELITE_REQUIRE_ROOT") == "1" {
			t.Fatal("this test needs root")
		}
		t.Skip("this test needs root")
	}
	name := fmt.Sprintf("kl-ipt-%d", os.Getpid())
	path, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Delete(name); err != nil {
			t.Error(err)
		}
	}()
	err = netns.Do(path, func() error {
		if output, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("set lo up: %w: %s", err, output)
		}
		return f()
	})
	if err != nil {
		t.Error(err)
	}
}

// savedRules is what iptables-save prints, without its comments and counters.
func savedRules() (string, error) {
	text, err := save(context.Background())
	if err != nil {
		return "", err
	}
	var kept strings.Builder
	for _, line := range strings.Split(text, "\n") {
		if line != "" && line[0] != '#' {
			kept.WriteString(line + "\n")
		}
	}
	return kept.String(), nil
}

func TestNetnsSavedRules(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml")
	var saved string
	inNamespace(t, func() error {
		backend, err := New(nodeOptions)
		if err != nil {
			return err
		}
		if err := backend.Replace(context.Background(), p); err != nil {
			return err
		}
		saved, err = savedRules()
		if err != nil {
			return err
		}
		found, err := backend.Difference(context.Background())
		if found != "" {
			t.Errorf("difference right after programming: %s", found)
		}
		return err
	})
	if saved != "" {
		checkGolden(t, "testdata/services.save", saved)
	}
}

// A new process finds the rules of the one before it right, and does not touch them.
func TestNetnsReplaceLeavesRightRulesAlone(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml")
	inNamespace(t, func() error {
		backend, err := New(nodeOptions)
		if err != nil {
			return err
		}
		if !backend.nft {
			t.Log("x_tables has no generations: nothing to compare")
			return nil
		}
		if err := backend.Replace(context.Background(), p); err != nil {
			return err
		}
		before, err := netfilter.Generation()
		if err != nil {
			return err
		}
		if err := backend.Replace(context.Background(), p); err != nil {
			return err
		}
		after, err := netfilter.Generation()
		if before != after {
			t.Errorf("generation %d became %d", before, after)
		}
		return err
	})
}

// What is found missing, changed or added is named, and put right.
func TestNetnsDifference(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml")
	inNamespace(t, func() error {
		backend, err := New(nodeOptions)
		if err != nil {
			return err
		}
		if err := backend.Replace(context.Background(), p); err != nil {
			return err
		}
		for _, test := range []struct{ damage, found string }{
			{"*nat\n-F KUBE-SERVICES\nCOMMIT\n", "chain KUBE-SERVICES of table nat has 0 rules instead of 12"},
			{"*nat\n-F PREROUTING\nCOMMIT\n", "chain PREROUTING of table nat has no rule"},
			{"*nat\n-D KUBE-SERVICES 2\nCOMMIT\n", "chain KUBE-SERVICES of table nat has 11 rules instead of 12"},
			{"*nat\n-R KUBE-MARK-MASQ 1 -j MARK --set-xmark 0x1/0x1\nCOMMIT\n", "rule 1 of chain KUBE-MARK-MASQ of table nat is"},
			{"*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\nCOMMIT\n", "chain KUBE-SVC-AAAAAAAAAAAAAAAA of table nat belongs to no Service"},
			{"*mangle\n-X KUBE-PROXY-CANARY\nCOMMIT\n", "chain KUBE-PROXY-CANARY of table mangle is gone"},
			{"*filter\n-A INPUT -s 192.0.2.1/32 -j DROP\nCOMMIT\n", ""},
		} {
			if err := restore(context.Background(), test.damage); err != nil {
				return err
			}
			found, err := backend.Difference(context.Background())
			if err != nil {
				return err
			}
			if !strings.HasPrefix(found, test.found) || found != "" && test.found == "" {
				t.Errorf("after %q found %q, expected %q", test.damage, found, test.found)
			}
			if found == "" {
				continue
			}
			if err := backend.Replace(context.Background(), p); err != nil {
				return err
			}
			if found, err := backend.Difference(context.Background()); found != "" || err != nil {
				t.Errorf("after %q and Replace: %s %v", test.damage, found, err)
			}
		}
		return nil
	})
}

// An iptables that prints other words does not keep the proxy writing for ever.
func TestNetnsOtherWords(t *testing.T) {
	inNamespace(t, func() error {
		backend, err := New(nodeOptions)
		if err != nil {
			return err
		}
		if err := backend.Replace(context.Background(), readPlan(t, "testdata/services.yaml")); err != nil {
			return err
		}
		backend.state.written[natMarkMasq] = []string{"-j MARK --or-mark 0x4000"}
		for i, expected := range []bool{true, false, false} {
			found, err := backend.Difference(context.Background())
			if err != nil {
				return err
			}
			if (found != "") != expected {
				t.Errorf("look %d found %q", i+1, found)
			}
		}
		if !backend.countsOnly {
			t.Error("rules are still compared")
		}
		if err := restore(context.Background(), "*nat\n-F KUBE-MARK-MASQ\nCOMMIT\n"); err != nil {
			return err
		}
		found, err := backend.Difference(context.Background())
		if found == "" {
			t.Error("a flushed chain was not found")
		}
		return err
	})
}
