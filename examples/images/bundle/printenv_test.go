package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPrintenv runs the image's printenv with this machine's awk.
func TestPrintenv(t *testing.T) {
	for _, c := range []struct {
		arguments, want string
		status          int
	}{
		{"B", "2=3\n", 0},
		{"B A", "2=3\n1\n", 0},
		{"NONE A", "1\n", 1},
		{"EMPTY", "\n", 0},
	} {
		command := exec.CommandContext(t.Context(), "awk", append([]string{"-f", "rootfs/base/usr/bin/printenv"}, strings.Fields(c.arguments)...)...)
		command.Env = []string{"A=1", "B=2=3", "EMPTY="}
		output, _ := command.Output() // how it ended is in the ProcessState
		if string(output) != c.want || command.ProcessState.ExitCode() != c.status {
			t.Errorf("printenv %s: %q, status %d", c.arguments, output, command.ProcessState.ExitCode())
		}
	}
	command := exec.CommandContext(t.Context(), "awk", "-f", "rootfs/base/usr/bin/printenv")
	command.Env = []string{"A=1"}
	if output, err := command.Output(); err != nil || !strings.Contains("\n"+string(output), "\nA=1\n") {
		t.Errorf("printenv: %q, %v", output, err)
	}
}
