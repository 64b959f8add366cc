package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// restore feeds text to iptables-restore in the calling thread's network namespace. Rules of other programs stay.
//
// The rules are in force some 3 ms after the start. Where rules were deleted, the process ends only about 10 ms later: closing
// its netlink socket waits until no packet can still be looking at the old ones.
func restore(ctx context.Context, text string) error {
	return run(exec.CommandContext(ctx, "iptables-restore", "--noflush", "--wait", "5"), text, nil)
}

// save returns what iptables-save prints of all tables in the calling thread's network namespace.
func save(ctx context.Context) (string, error) {
	var output bytes.Buffer
	if err := run(exec.CommandContext(ctx, "iptables-save"), "", &output); err != nil {
		return "", err
	}
	return output.String(), nil
}

// usesNFTables says whether the installed iptables programs nf_tables, and not the kernel's older x_tables.
func usesNFTables() (bool, error) {
	var output bytes.Buffer
	if err := run(exec.Command("iptables-restore", "--version"), "", &output); err != nil {
		return false, err
	}
	return strings.Contains(output.String(), "nf_tables"), nil
}

func run(cmd *exec.Cmd, input string, output *bytes.Buffer) error {
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &complaint
	if output != nil {
		cmd.Stdout = output
	}
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("run %s: %w; install the package iptables", cmd.Args[0], err)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
