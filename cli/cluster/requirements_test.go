package cluster

import (
	"strings"
	"testing"
)

func TestMissingTools(t *testing.T) {
	err := lacking([]string{"conmon", "iptables", "iptables-save", "runc"}, []string{"something else"})
	want := `this machine lacks what a cluster needs:
  - the program iptables is not installed
  - the program iptables-save is not installed
  - the program runc is not installed
  - the program conmon is not installed
  - something else
Install the programs with:
  sudo apt-get install --yes --no-install-recommends iptables runc conmon`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if err := lacking(nil, nil); err != nil {
		t.Error(err)
	}
	if err := lacking(nil, []string{"something else"}); strings.Contains(err.Error(), "apt-get") {
		t.Error(err)
	}
}

// TestPATH finds programs where the cluster's processes do, whatever the caller's PATH is.
func TestPATH(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	if path, err := findProgram("sh"); err != nil || !strings.HasSuffix(path, "/sh") {
		t.Errorf("sh is %q, %v", path, err)
	}
	if path, err := findProgram("no-such-program"); err == nil {
		t.Errorf("found %q", path)
	}
}

func TestMissingControllers(t *testing.T) {
	if err := lackingControllers("cpuset cpu io memory hugetlb pids rdma misc\n"); err != nil {
		t.Error(err)
	}
	err := lackingControllers("cpuset cpu io\n")
	if err == nil || !strings.HasPrefix(err.Error(), "the control group controllers memory, pids are not in /sys/fs/cgroup/cgroup.controllers") {
		t.Error(err)
	}
}
