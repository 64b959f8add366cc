package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestNetnsContainerRunsIsLoggedAndExits(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	startPod(t, host, "pod-a")
	container := start(t, host, l.container("pod-a", "program", "exit", "3"))
	got := ended(t, host, container.ID)
	if got.ExitCode != 3 || got.OOMKilled || got.Finished.Before(got.Created) || got.Labels["a"] != "b" {
		t.Errorf("container %+v", got)
	}
	log, err := os.ReadFile(got.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{" stdout F to stdout\n", " stderr F to stderr\n"} {
		if !bytes.Contains(log, []byte(line)) {
			t.Errorf("log has no %q:\n%s", line, log)
		}
	}
	if err := host.RemoveContainer(context.Background(), container.ID); err != nil {
		t.Error(err)
	}
	if err := host.RemoveContainer(context.Background(), container.ID); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestNetnsContainerSeesWhatItShould(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	sandbox := startPod(t, host, "pod-a")
	if sandbox.IP.String() != "10.244.0.2" {
		t.Errorf("address %s", sandbox.IP)
	}
	config := l.container("pod-a", "program", "facts")
	config.User, config.WorkingDir, config.Env, config.NoNewPrivileges = "learner", "/tmp", []string{"GREETING=hello"}, true
	config.Groups, config.Seccomp, config.ReadOnlyRoot = []uint32{3000}, SeccompRuntimeDefault, true
	config.MemoryLimit, config.CPUShares, config.CPUQuota, config.OOMScoreAdj = 64<<20, 100, 50_000, 500
	source := filepath.Join(l.Folder, "hosts")
	if err := os.WriteFile(source, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	config.Mounts = []specs.Mount{{Destination: "/etc/hosts", Type: "bind", Source: source, Options: []string{"rbind", "ro"}}}
	config.ReadOnlyRoot = true
	if err := os.WriteFile(filepath.Join(l.Layer, "etc/hosts"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got := ended(t, host, start(t, host, config).ID)
	log, _ := os.ReadFile(got.LogPath)
	for _, want := range []string{
		"hostname web-0", "pid 1 uid 1000 gid 1000 groups [1000 2000 3000]", "folder /tmp GREETING hello",
		"CapBnd:\t00000000a80425fb", "NoNewPrivs:\t1", "Seccomp:\t2", "read-only file system", "write /sys/fs/cgroup: true",
		"lo  true [127.0.0.1/8 ::1/128]", "eth0 0a:58:0a:f4:00:02 true [10.244.0.2/32]",
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
}

func TestNetnsStartErrors(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	if _, err := host.StartContainer(context.Background(), l.container("pod-a", "program")); !errors.Is(err, ErrNoSandbox) {
		t.Errorf("without sandbox: %v", err)
	}
	startPod(t, host, "pod-a")
	for _, test := range []struct {
		name   string
		change func(*ContainerConfig)
		want   string
	}{
		{"no such program", func(c *ContainerConfig) { c.Args = []string{"foo"} },
			`start container main of image "test/program": OCI runtime create failed: runc create failed: unable to start container process: exec: "foo": executable file not found in $PATH`},
		{"not a program", func(c *ContainerConfig) { c.Args = []string{"/etc/passwd"} }, `exec: "/etc/passwd": permission denied`},
		{"no such user", func(c *ContainerConfig) { c.User = "nobody" }, "unable to find user nobody: no matching entries in passwd file"},
		{"no such layer", func(c *ContainerConfig) { c.LayerDirs = []string{"/none"} }, "mount root filesystem of 1 layers: no such file or directory"},
		{"no such mount", func(c *ContainerConfig) {
			c.Mounts = []specs.Mount{{Destination: "/x", Type: "bind", Source: "/none", Options: []string{"bind"}}}
		}, "no such file or directory"},
	} {
		config := l.container("pod-a", "program", "sleep")
		test.change(&config)
		if _, err := host.StartContainer(context.Background(), config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for _, below := range []string{"root/containers", "run/containers", "run/runc"} {
		if entries, _ := os.ReadDir(filepath.Join(l.Folder, below)); len(entries) > 0 {
			t.Errorf("%s left in %s", entries, below)
		}
	}
}

func TestNetnsExec(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	startPod(t, host, "pod-a")
	id := start(t, host, l.container("pod-a", "program", "sleep")).ID
	ctx := context.Background()

	var stdout, stderr bytes.Buffer
	code, err := host.Exec(ctx, id, []string{"program", "exit", "5"}, Streams{Stdout: &stdout, Stderr: &stderr})
	if code != 5 || err != nil || stdout.String() != "to stdout\n" || stderr.String() != "to stderr\n" {
		t.Errorf("exit: %d %v %q %q", code, err, &stdout, &stderr)
	}
	var both Output
	if _, err := host.Exec(ctx, id, []string{"program", "exit", "5"}, Streams{Stdout: &both, Stderr: &both}); err != nil || len(both.Bytes()) != len("to stdout\nto stderr\n") {
		t.Errorf("both streams: %q %v", both.Bytes(), err)
	}
	stdout.Reset()
	code, err = host.Exec(ctx, id, []string{"program", "cat"}, Streams{Stdin: strings.NewReader("hello"), Stdout: &stdout})
	if code != 0 || err != nil || stdout.String() != "hello" {
		t.Errorf("cat: %d %v %q", code, err, &stdout)
	}
	stderr.Reset()
	_, err = host.Exec(ctx, id, []string{"foo"}, Streams{Stderr: &stderr})
	if want := `exec: "foo": executable file not found in $PATH`; err == nil || !strings.HasSuffix(err.Error(), want) || stderr.Len() > 0 {
		t.Errorf("not found: %v %q", err, &stderr)
	}

	sizes := make(chan TerminalSize, 1)
	resized := false
	screen := writer(func(data []byte) {
		stdout.Write(data)
		if !resized && strings.Contains(stdout.String(), "ready") {
			resized = true
			sizes <- TerminalSize{Width: 101, Height: 33}
		}
	})
	stdout.Reset()
	code, err = host.Exec(ctx, id, []string{"program", "size", "101x33"}, Streams{TTY: true, Stdout: screen, Resize: sizes})
	if code != 0 || err != nil || !strings.Contains(stdout.String(), "101x33\r\n") {
		t.Errorf("terminal: %d %v %q", code, err, &stdout)
	}

	short, cancel := context.WithCancel(ctx)
	_, err = host.Exec(short, id, []string{"program", "sleep"}, Streams{Stdout: writer(func([]byte) { cancel() })})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	group := filepath.Join(host.cgroups.folders[0], host.cgroups.path("podpod-a/"+id), "cgroup.procs")
	left := []byte("not read")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if left, err = os.ReadFile(group); err != nil || bytes.Count(left, []byte("\n")) == 1 {
			break
		}
	}
	if err != nil || bytes.Count(left, []byte("\n")) != 1 {
		t.Errorf("processes after a cancelled exec: %q %v", left, err)
	}
}

type writer func([]byte)

func (w writer) Write(data []byte) (int, error) { w(data); return len(data), nil }

func TestNetnsAttach(t *testing.T) {
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("tty=%v", tty), func(t *testing.T) {
			l := newLab(t)
			host := l.host(t)
			startPod(t, host, "pod-a")
			config := l.container("pod-a", "program", "lines")
			config.Stdin, config.StdinOnce, config.TTY = true, true, tty
			id := start(t, host, config).ID
			var output bytes.Buffer
			input, typed := newPipe(t)
			done := make(chan error, 1)
			go func() {
				done <- host.Attach(context.Background(), id, Streams{Stdin: input, Stdout: &output, TTY: tty})
			}()
			end := "x\n"
			if tty {
				end = "x\n\x04"
			}
			if _, err := typed.WriteString(end); err != nil {
				t.Fatal(err)
			}
			typed.Close()
			got := ended(t, host, id)
			if err := <-done; err != nil || got.ExitCode != 0 || !strings.Contains(output.String(), "got x") {
				t.Errorf("attach: %v, exit code %d, output %q", err, got.ExitCode, &output)
			}
		})
	}
}

func newPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}

func TestNetnsOutOfMemory(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	startPod(t, host, "pod-a")
	config := l.container("pod-a", "program", "eat")
	config.MemoryLimit = 32 << 20
	if got := ended(t, host, start(t, host, config).ID); !got.OOMKilled || got.ExitCode != 137 {
		t.Errorf("container %+v", got)
	}
}

// TestNetnsMemoryLimitIsNoSwap looks at the node's first container: in v2 its group is the first below the node's.
func TestNetnsMemoryLimitIsNoSwap(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	startPod(t, host, "pod-a")
	config := l.container("pod-a", "program", "sleep")
	config.MemoryLimit = 32 << 20
	group := host.cgroups.path("podpod-a/" + start(t, host, config).ID)
	file, want := filepath.Join(host.cgroups.v2, group, "memory.swap.max"), "0"
	if memory, ok := host.cgroups.v1["memory"]; ok {
		file, want = filepath.Join(memory, group, "memory.memsw.limit_in_bytes"), fmt.Sprint(config.MemoryLimit)
	}
	got, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the kernel does not limit swap")
	}
	if err != nil || strings.TrimSpace(string(got)) != want {
		t.Errorf("%s is %q, %v; want %s", file, got, err, want)
	}
}

func TestNetnsContainersOutliveTheAgent(t *testing.T) {
	l := newLab(t)
	agent := l.startAgent(t, "pod-a")
	if err := agent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	host := l.host(t)
	containers, err := host.Containers(context.Background())
	if err != nil || len(containers) != 1 || containers[0].State != Running {
		t.Fatalf("adopted %+v %v", containers, err)
	}
	sandboxes, _ := host.Sandboxes(context.Background())
	if len(sandboxes) != 1 || sandboxes[0].IP.String() != "10.244.0.2" {
		t.Errorf("adopted %+v", sandboxes)
	}
	id := containers[0].ID
	waitForLog(t, containers[0].LogPath, "sleeping")
	if err := host.SignalContainer(context.Background(), id, int(unix.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, host, id); got.ExitCode != 7 {
		t.Errorf("container %+v", got)
	}
	if err := host.SignalContainer(context.Background(), id, int(unix.SIGTERM)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestNetnsContainerEndsWhileNoAgentRuns(t *testing.T) {
	l := newLab(t)
	first, err := l.newHost()
	if err != nil {
		t.Fatal(err)
	}
	startPod(t, first, "pod-a")
	container := start(t, first, l.container("pod-a", "program", "sleep"))
	r, _ := first.record(container.ID)
	waitForLog(t, container.LogPath, "sleeping")
	first.Close()
	if err := r.Process.signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.Conmon.wait(10*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	second := l.host(t)
	if got := ended(t, second, container.ID); got.ExitCode != 7 || got.Finished.IsZero() {
		t.Errorf("container %+v", got)
	}
	if next := startPod(t, second, "pod-b"); next.IP.String() != "10.244.0.3" {
		t.Errorf("next address %s", next.IP)
	}
}

func TestNetnsConmonKilled(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	startPod(t, host, "pod-a")
	id := start(t, host, l.container("pod-a", "program", "sleep")).ID
	r, _ := host.record(id)
	if err := r.Conmon.end(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := host.SignalContainer(context.Background(), id, int(unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, host, id); got.ExitCode != exitCodeUnknown {
		t.Errorf("container %+v", got)
	}
}

func TestNetnsReboot(t *testing.T) {
	l := newLab(t)
	first := l.host(t)
	startPod(t, first, "pod-a")
	id := start(t, first, l.container("pod-a", "program", "sleep")).ID
	saved, err := os.ReadFile(filepath.Join(first.layerDir(id), "container.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.StopSandbox(context.Background(), "pod-a"); err != nil {
		t.Fatal(err)
	}
	// what is left after a reboot: the folder on disk, nothing that runs
	if err := os.MkdirAll(first.layerDir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(first.layerDir(id), "container.json"), saved, 0o600); err != nil {
		t.Fatal(err)
	}
	second := l.host(t)
	containers, _ := second.Containers(context.Background())
	if len(containers) != 1 || containers[0].State != Exited || containers[0].ExitCode != exitCodeUnknown {
		t.Errorf("containers %+v", containers)
	}
	if sandboxes, _ := second.Sandboxes(context.Background()); len(sandboxes) != 0 {
		t.Errorf("sandboxes %+v", sandboxes)
	}
	if sandbox := startPod(t, second, "pod-a"); sandbox.IP.String() != "10.244.0.3" {
		t.Errorf("address after a reboot %s", sandbox.IP)
	}
}

func TestNetnsSandboxIsKeptAndRebuilt(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	first := startPod(t, host, "pod-a")
	if again := startPod(t, host, "pod-a"); again != first {
		t.Errorf("again %+v, first %+v", again, first)
	}
	if err := os.Remove(filepath.Join(host.sandboxDir("pod-a"), "sandbox.json")); err != nil {
		t.Fatal(err)
	}
	second := l.host(t) // an agent that was killed in between
	if sandboxes, _ := second.Sandboxes(context.Background()); len(sandboxes) != 0 {
		t.Errorf("unfinished sandbox is listed: %+v", sandboxes)
	}
	if rebuilt := startPod(t, second, "pod-a"); rebuilt.IP == first.IP {
		t.Errorf("rebuilt with the old address %s", rebuilt.IP)
	}
	for range 2 {
		if err := second.StopSandbox(context.Background(), "pod-a"); err != nil {
			t.Error(err)
		}
	}
}

func TestNetnsPodsReachEachOtherAndHostPorts(t *testing.T) {
	l := newLab(t)
	host := l.host(t)
	server, err := host.StartSandbox(context.Background(), SandboxConfig{
		PodUID: "pod-a", Hostname: "server", HostPorts: []HostPort{{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	startPod(t, host, "pod-b")
	config := l.container("pod-a", "program", "serve", ":80")
	config.User = "1000" // port 80 needs no privilege in a Pod
	serverID := start(t, host, config).ID
	client := start(t, host, l.container("pod-b", "program", "sleep")).ID
	nodePod, err := host.StartSandbox(context.Background(), SandboxConfig{PodUID: "pod-c", Hostname: "node-1", HostNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	if nodePod.IP.String() != "192.168.1.2" || nodePod.NetNS != "" {
		t.Errorf("host network Pod %+v", nodePod)
	}
	onNode := start(t, host, l.container("pod-c", "program", "sleep")).ID
	for _, test := range []struct{ from, address, want string }{
		{client, server.IP.String() + ":80", "server 10.244.0.3\n"},
		{onNode, server.IP.String() + ":80", "server 10.244.0.1\n"},
		{client, "192.168.1.2:8080", "server 10.244.0.3\n"},
		{onNode, "127.0.0.1:8080", "server 10.244.0.1\n"},
		{serverID, "192.168.1.2:8080", "server 10.244.0.1\n"},
	} {
		var output bytes.Buffer
		code, err := host.Exec(context.Background(), test.from, []string{"program", "dial", test.address}, Streams{Stdout: &output})
		if err != nil || code != 0 || output.String() != test.want {
			t.Errorf("%s: %d %v %q", test.address, code, err, &output)
		}
	}
}

func BenchmarkNetnsStart(b *testing.B) {
	l := newLab(b)
	host := l.host(b)
	steps := map[string]time.Duration{}
	step := func(name string, f func()) {
		started := time.Now()
		f()
		steps[name] += time.Since(started)
	}
	for i := range b.N {
		uid := fmt.Sprintf("pod-%d", i)
		step("sandbox", func() { startPod(b, host, uid) })
		var container Container
		step("container", func() { container = start(b, host, l.container(uid, "program", "sleep")) })
		step("exec", func() {
			if _, err := host.Exec(context.Background(), container.ID, []string{"program", "exit", "0"}, Streams{}); err != nil {
				b.Fatal(err)
			}
		})
		step("exit", func() {
			if err := host.SignalContainer(context.Background(), container.ID, int(unix.SIGKILL)); err != nil {
				b.Fatal(err)
			}
			ended(b, host, container.ID)
		})
		step("stop", func() {
			if err := host.StopSandbox(context.Background(), uid); err != nil {
				b.Fatal(err)
			}
		})
	}
	for name, total := range steps {
		b.ReportMetric(float64(total.Microseconds())/1000/float64(b.N), "ms/"+name)
	}
}
