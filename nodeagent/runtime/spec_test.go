package runtime

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestBuildSpec(t *testing.T) {
	plain := ContainerConfig{Args: []string{"sleep", "infinity"}}
	full := ContainerConfig{
		Args: []string{"web"}, Env: []string{"PATH=/bin", "A=1"}, WorkingDir: "/srv", ReadOnlyRoot: true, NoNewPrivileges: true,
		AddCapabilities: []string{"NET_ADMIN"}, DropCapabilities: []string{"ALL"}, CPUShares: 102, CPUQuota: 10000, MemoryLimit: 64 << 20, OOMScoreAdj: 997,
		TTY: true, Mounts: []specs.Mount{
			{Destination: "/data/below", Type: "bind", Source: "/b"}, {Destination: "/data", Type: "bind", Source: "/a"},
			{Destination: "/dev/shm", Type: "bind", Source: "/memory"},
		},
	}
	for name, test := range map[string]struct {
		config ContainerConfig
		at     place
	}{
		"plain":        {plain, place{root: "/run/c/rootfs", sandboxDir: "/run/s", netNS: "/run/netns/p", cgroup: "/k/pod1/2", v2: true}},
		"full":         {full, place{root: "/run/c/rootfs", sandboxDir: "/run/s", netNS: "/run/netns/p", cgroup: "/k/pod1/2", swap: true}},
		"host-network": {plain, place{root: "/run/c/rootfs", sandboxDir: "/run/s", cgroup: "/k/pod1/2", v2: true}},
	} {
		spec, err := buildSpec(test.config, specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{2}}, test.at)
		if err != nil {
			t.Fatal(err)
		}
		spec.Process.Rlimits = nil // the machine's
		got, err := json.MarshalIndent(spec, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "spec-"+name+".json")
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s differs:\n%s", golden, got)
		}
	}
}

func TestCapabilities(t *testing.T) {
	all := len(allCapabilities())
	for _, test := range []struct {
		name   string
		config ContainerConfig
		count  int
		with   string
		not    string
	}{
		{"default", ContainerConfig{}, 14, "CAP_NET_RAW", "CAP_SYS_ADMIN"},
		{"privileged", ContainerConfig{Privileged: true, DropCapabilities: []string{"ALL"}}, all, "CAP_SYS_ADMIN", ""},
		{"add", ContainerConfig{AddCapabilities: []string{"CAP_net_admin"}}, 15, "CAP_NET_ADMIN", ""},
		{"add all", ContainerConfig{AddCapabilities: []string{"all"}, DropCapabilities: []string{"KILL"}}, all - 1, "CAP_SYS_ADMIN", "CAP_KILL"},
		{"only", ContainerConfig{AddCapabilities: []string{"CHOWN"}, DropCapabilities: []string{"ALL"}}, 1, "CAP_CHOWN", "CAP_KILL"},
		{"none", ContainerConfig{DropCapabilities: []string{"ALL"}}, 0, "", "CAP_KILL"},
		{"unknown", ContainerConfig{AddCapabilities: []string{"FLY"}}, 14, "", "CAP_FLY"},
	} {
		got := capabilities(test.config)
		text := strings.Join(got, " ") + " "
		if len(got) != test.count || test.with != "" && !strings.Contains(text, test.with+" ") || test.not != "" && strings.Contains(text, test.not+" ") {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestBoundingSet(t *testing.T) {
	for status, want := range map[string]string{
		"CapInh:\t0\nCapBnd:\t0000000000000021\nCapAmb:\t0\n": "CHOWN KILL",
		"CapBnd:\t0000000000000000\n":                         "",
		"":                                                    strings.Join(capabilityNames, " "),
	} {
		if got := strings.Join(boundingSet(status), " "); got != want {
			t.Errorf("%q: %s", status, got)
		}
	}
}

func TestOutput(t *testing.T) {
	var output Output
	if _, err := io.Copy(&output, strings.NewReader(strings.Repeat("x", 2*mostOutput))); err != nil || len(output.Bytes()) != mostOutput {
		t.Errorf("%d bytes, %v", len(output.Bytes()), err)
	}
}

func TestRuncErrors(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	lines := `{"level":"warning","msg":"cgroup"}
{"level":"error","msg":"runc create failed: unable to start container process: exec: \"foo\": executable file not found in $PATH","time":"…"}
half a line`
	if err := os.WriteFile(log, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := runcError(log), `runc create failed: unable to start container process: exec: "foo": executable file not found in $PATH`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := runcError(filepath.Join(t.TempDir(), "none")); got != "" {
		t.Errorf("no log: %q", got)
	}
	if got := cleanRuncError("container_linux.go:380: starting container process caused: process_linux.go:545: container init caused:\n x"); got != "starting container process caused: container init caused: x" {
		t.Errorf("%q", got)
	}
}

func TestReadPID(t *testing.T) {
	for text, want := range map[string]int{`{"data": 12}` + "\n": 12, `{"data": -1, "message": "no"}` + "\n": 0, "": 0, "{\n": 0} {
		if got, err := readPID(strings.NewReader(text)); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d %v", text, got, err)
		}
	}
}

func TestNamesFromOutsideStayInTheirFolder(t *testing.T) {
	for id, want := range map[string]bool{strings.Repeat("0f", 32): true, "": false, "../x": false, strings.Repeat("0F", 32): false} {
		if isID(id) != want {
			t.Errorf("ID %q", id)
		}
	}
	for uid, want := range map[string]bool{"0b7f6ad2-1d0e": true, "": false, "..": false, "a/b": false, strings.Repeat("a", 200): false} {
		if isUID(uid) != want {
			t.Errorf("UID %q", uid)
		}
	}
	for _, name := range []string{"../../etc/passwd", "net/../../x", "a..b"} {
		if err := writeSysctl(name, "x"); err == nil {
			t.Errorf("sysctl %q is written", name)
		}
	}
}
