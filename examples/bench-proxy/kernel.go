package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kubelite/kubelite/internal/netns"
)

// kernelCounts is what a node's kernel holds: everything in a node's namespace is the proxy's.
type kernelCounts struct {
	rules    int
	elements int // of nftables maps and sets
	virtual  int // IPVS services and destinations
}

func (c kernelCounts) String() string {
	parts := []string{fmt.Sprintf("%d rules", c.rules)}
	if c.elements > 0 {
		parts = append(parts, fmt.Sprintf("%d elements", c.elements))
	}
	if c.virtual > 0 {
		parts = append(parts, fmt.Sprintf("%d IPVS entries", c.virtual))
	}
	return strings.Join(parts, ", ")
}

func (b *bench) count(n *node, v variant) (c kernelCounts, err error) {
	err = netns.Do(n.path, func() error {
		if v.mode == "nftables" || v.mode == "ipvs" {
			err := c.countNFTables()
			table, readError := os.ReadFile("/proc/thread-self/net/ip_vs")
			if readError == nil {
				c.virtual = max(0, bytes.Count(table, []byte("\n"))-3) // three lines of heading
			} else if !errors.Is(readError, os.ErrNotExist) {
				err = errors.Join(err, readError)
			}
			return err
		}
		text, err := exec.Command(filepath.Join(b.iptables(v.multi), "iptables-save")).Output()
		for line := range bytes.Lines(text) {
			if bytes.HasPrefix(line, []byte("-A ")) {
				c.rules++
			}
		}
		return err
	})
	if err != nil {
		return c, fmt.Errorf("count rules: %w", err)
	}
	return c, nil
}

func (c *kernelCounts) countNFTables() error {
	text, err := exec.Command("nft", "-j", "list", "ruleset").Output()
	if err != nil {
		return err
	}
	var listed struct {
		NFTables []struct {
			Rule *struct{}
			Map  *struct{ Elem []json.RawMessage }
			Set  *struct{ Elem []json.RawMessage }
		}
	}
	if err := json.Unmarshal(text, &listed); err != nil {
		return err
	}
	for _, object := range listed.NFTables {
		switch {
		case object.Rule != nil:
			c.rules++
		case object.Map != nil:
			c.elements += len(object.Map.Elem)
		case object.Set != nil:
			c.elements += len(object.Set.Elem)
		}
	}
	return nil
}
