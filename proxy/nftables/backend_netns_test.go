package nftables

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// inNamespace runs f on a thread in a fresh network namespace with its loopback up. f must not call t.Fatal.
func inNamespace(t testing.TB, f func() error) {
	t.Helper()
	err := netns.Do(netnstest.New(t), func() error {
		if output, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("set lo up: %w: %s", err, output)
		}
		return f()
	})
	if err != nil {
		t.Error(err)
	}
}

// listing is what `nft list ruleset` prints.
func listing() (string, error) {
	output, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft list ruleset: %w: %s", err, output)
	}
	return string(output), nil
}

var background = context.Background()

func TestNetnsListing(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml")
	var listed string
	inNamespace(t, func() error {
		made, err := New(nodeOptions)
		if err != nil {
			return err
		}
		if err := made.Replace(background, p); err != nil {
			return err
		}
		found, err := made.compareNow()
		if found != "" || err != nil {
			t.Errorf("difference right after programming: %s %v", found, err)
		}
		listed, err = listing()
		return err
	})
	fmt.Println(listed)
}

// compareNow is Difference, had anyone changed anything.
func (b *Backend) compareNow() (string, error) {
	b.seenValid = false
	return b.Difference(background)
}
