package userspace

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What a terminal sends to the proxy's process group does not reach what it has begun, which is left to finish.
func TestProcessGroup(t *testing.T) {
	group, err := run(t.Context(), "", "sh", "-c", "cut -d ' ' -f 5 /proc/$$/stat")
	if err != nil {
		t.Fatal(err)
	}
	if own := strconv.Itoa(syscall.Getpgrp()); strings.TrimSpace(group) == own {
		t.Errorf("process group %s", own)
	}
}
