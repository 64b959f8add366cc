package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPID(t *testing.T) {
	p := process{"server", filepath.Join(t.TempDir(), "server.pid"), "", ""}
	if pid := p.pid(); pid != 0 {
		t.Errorf("without a file the pid is %d", pid)
	}
	own := os.Getpid()
	start, err := startTime(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		content string
		want    int
	}{
		{fmt.Sprintf("%d %s\n", own, start), own},
		{fmt.Sprintf("%d %s1\n", own, start), 0}, // the pid was given to another process
		{fmt.Sprintf("%d\n", own), 0},
		{"", 0},
		{"\x00\x00\x00", 0},
		{"-1 5\n", 0},
	} {
		if err := os.WriteFile(p.pidFile, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid := p.pid(); pid != test.want {
			t.Errorf("%q is pid %d, want %d", test.content, pid, test.want)
		}
	}
}

// TestAdopt finds a process whose pid file was never written, and no other.
func TestAdopt(t *testing.T) {
	mark := t.TempDir()
	child := exec.Command("sh", "-c", "read line", "server", mark, "more")
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p := process{"server", filepath.Join(t.TempDir(), "server.pid"), "", ""}
	for _, other := range [][]string{
		{"-c", "read line", "server", mark + "1"},
		{"-c", "read line", "agent", mark},
	} {
		if adopted, err := p.adopt(other); adopted || err != nil {
			t.Errorf("arguments %q are found: %v", other, err)
		}
	}
	arguments := []string{"-c", "read line", "server", mark}
	if pids, err := startedWith(arguments); err != nil || !slices.Equal(pids, []int{child.Process.Pid}) {
		t.Errorf("found %v, %v, want %d", pids, err, child.Process.Pid)
	}
	if adopted, err := p.adopt(arguments); !adopted || err != nil || p.pid() != child.Process.Pid {
		t.Errorf("adopted %v, %v: pid %d, want %d", adopted, err, p.pid(), child.Process.Pid)
	}
	input.Close()
	if err := child.Wait(); err == nil {
		t.Log("the child read a line") // read fails at the end of its input
	}
	if pid := p.pid(); pid != 0 {
		t.Errorf("the ended process has pid %d", pid)
	}
}

func TestKill(t *testing.T) {
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = child.Wait() }() // ends with the child
	if err := kill([]int{child.Process.Pid}, 10*time.Second); err != nil {
		t.Error(err)
	}
	if !ended(child.Process.Pid) {
		t.Error("it goes on")
	}
	if err := kill([]int{child.Process.Pid}, 10*time.Second); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestLastLines(t *testing.T) {
	p := process{"server", "", filepath.Join(t.TempDir(), "server.log"), ""}
	if got := p.lastLines(2, 0); got != "" {
		t.Errorf("without a log: %q", got)
	}
	if err := os.WriteFile(p.logFile, []byte("of an earlier run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := p.logSize()
	if err := os.WriteFile(p.logFile, []byte("of an earlier run\na\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "  c", 2: "  b\n  c", 9: "  a\n  b\n  c"} {
		if got := p.lastLines(n, from); got != want {
			t.Errorf("the last %d lines are %q, want %q", n, got, want)
		}
	}
}
