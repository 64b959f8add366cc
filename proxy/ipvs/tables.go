package ipvs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netfilter"
)

func (k *linuxKernel) rules(ctx context.Context) (string, error) {
	saved, err := iptables(ctx, k.options.Family, "", "save")
	if err != nil {
		return "", err
	}
	return selectRules(saved), nil
}

func (k *linuxKernel) writeRules(ctx context.Context) error {
	saved, err := iptables(ctx, k.options.Family, "", "save")
	if err != nil {
		return err
	}
	_, err = iptables(ctx, k.options.Family, restoreText(k.options, saved), "restore", "--noflush", "--wait", "5")
	return err
}

// rulesGeneration is false where iptables programs x_tables and not nf_tables.
func (k *linuxKernel) rulesGeneration() (uint32, bool) {
	if !k.nft {
		return 0, false
	}
	generation, err := netfilter.Generation()
	return generation, err == nil
}

// usesNFTables says whether the installed iptables programs nf_tables.
func usesNFTables() (bool, error) {
	version, err := iptables(context.Background(), corev1.IPv4Protocol, "", "restore", "--version")
	return strings.Contains(version, "nf_tables"), err
}

// iptables runs iptables-COMMAND, or ip6tables-COMMAND, with the input and returns its output.
func iptables(ctx context.Context, family corev1.IPFamily, input, command string, arguments ...string) (string, error) {
	program := "iptables-" + command
	if family == corev1.IPv6Protocol {
		program = "ip6tables-" + command
	}
	var output, complaint bytes.Buffer
	process := exec.CommandContext(ctx, program, arguments...)
	process.Stdin, process.Stdout, process.Stderr = strings.NewReader(input), &output, &complaint
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the proxy, and not for what it has begun
	err := process.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("run %s: %w; it is in the package iptables", program, err)
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", program, err, strings.TrimSpace(complaint.String()))
	}
	return output.String(), nil
}
