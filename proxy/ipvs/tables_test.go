package ipvs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What a terminal sends to the proxy's process group does not reach what it has begun, which is left to finish.
func TestProcessGroup(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(folder, "iptables-save"), []byte("#!/bin/sh\ncut -d ' ' -f 5 /proc/$$/stat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	group, err := iptables(t.Context(), corev1.IPv4Protocol, "", "save")
	if err != nil {
		t.Fatal(err)
	}
	if own := strconv.Itoa(syscall.Getpgrp()); strings.TrimSpace(group) == own {
		t.Errorf("process group %s", own)
	}
}
