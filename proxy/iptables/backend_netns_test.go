package iptables

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

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
	text, err := save()
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
		if err := backend.Replace(p); err != nil {
			return err
		}
		if backend.countsOnly {
			t.Error("iptables-save prints rules in other words than they were written in")
		}
		saved, err = savedRules()
		if err != nil {
			return err
		}
		found, err := backend.Difference()
		if found != "" {
			t.Errorf("difference right after programming: %s", found)
		}
		return err
	})
	if saved != "" {
		checkGolden(t, "testdata/services.save", saved)
	}
}
