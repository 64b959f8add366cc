package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/nodeagent/network"
)

// The tests that need a node run this binary once more, inside a namespace of its own: a Host is of the process's namespace.
const (
	nodeVariable  = "KUBELITE_TEST_NODE"  // set: this process is in the node's namespace
	agentVariable = "KUBELITE_TEST_AGENT" // a lab as JSON: this process is an agent, to be killed
)

func TestMain(m *testing.M) {
	if description := os.Getenv(agentVariable); description != "" {
		runAgent(description)
	}
	if os.Geteuid() != 0 || os.Getenv(nodeVariable) != "" {
		os.Exit(m.Run())
	}
	name := "test-" + randomName()
	path, err := netns.New(name)
	if err == nil {
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), nodeVariable+"="+name)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err = netns.Start(path, cmd); err == nil {
			err = cmd.Wait()
		}
	}
	if removeError := netns.Delete(name); err == nil {
		err = removeError
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func randomName() string {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// lab is a node on which a test runs Pods.
type lab struct {
	Folder, Name string // everything is in Folder, but what is named for Name
	PodCIDR      string
	Layer        string
}

// newLab makes a node. What the test leaves behind is found, fails the test, and is removed.
func newLab(t testing.TB) *lab {
	t.Helper()
	netnstest.RequireRoot(t)
	for _, program := range []string{"runc", "conmon", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("KUBELITE_REQUIRE_ROOT") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	makeUplink(t)
	folder, err := os.MkdirTemp("", "kl-runtime-")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Folder: folder, Name: "test-" + randomName(), PodCIDR: "10.244.0.0/24", Layer: filepath.Join(folder, "layer")}
	t.Cleanup(func() { l.remove(t) })
	for _, dir := range []string{"etc", "bin", "tmp"} {
		if err := os.MkdirAll(filepath.Join(l.Layer, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l.addProgram(t)
	accounts := "root:x:0:0:root:/root:/bin/sh\nlearner:x:1000:1000::/home/learner:/bin/sh\n"
	groups := "root:x:0:\nlearner:x:1000:\nstudents:x:2000:learner\n"
	for name, text := range map[string]string{"passwd": accounts, "group": groups} {
		if err := os.WriteFile(filepath.Join(l.Layer, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// addProgram puts testdata/program into the image: built here, or where there is no Go as KUBELITE_TEST_PROGRAM says.
func (l *lab) addProgram(t testing.TB) {
	t.Helper()
	program := filepath.Join(l.Layer, "bin/program")
	fetch := exec.Command("go", "build", "-o", program, "./testdata/program")
	fetch.Env = append(os.Environ(), "CGO_ENABLED=0")
	if built := os.Getenv("KUBELITE_TEST_PROGRAM"); built != "" {
		fetch = exec.Command("cp", built, program)
	}
	if output, err := fetch.CombinedOutput(); err != nil {
		t.Fatalf("make the test's program: %v: %s", err, output)
	}
}

// makeUplink gives the node an eth0, as the lab network does.
func makeUplink(t testing.TB) {
	t.Helper()
	if _, err := netlink.LinkByName("eth0"); err == nil {
		return
	}
	for _, link := range []netlink.Link{&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}} {
		if err := netlink.LinkAdd(link); err != nil {
			t.Fatal(err)
		}
	}
	for name, address := range map[string]string{"eth0": "192.168.1.2/24", "lo": ""} {
		link, err := netlink.LinkByName(name)
		if err == nil && address != "" {
			parsed, _ := netlink.ParseAddr(address)
			err = netlink.AddrAdd(link, parsed)
		}
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (l *lab) newHost() (*Host, error) {
	node := network.New(network.Config{
		StateDir: filepath.Join(l.Folder, "network"), ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Underlay: "eth0",
	})
	host, err := New(Config{
		RootDir: filepath.Join(l.Folder, "root"), RunDir: filepath.Join(l.Folder, "run"), NetNSPrefix: l.Name, CgroupParent: "/" + l.Name, Network: node,
	})
	if err != nil {
		return nil, err
	}
	if err := node.Setup(netip.MustParsePrefix(l.PodCIDR)); err != nil {
		return nil, err
	}
	return host, host.Reclaim()
}

// host is a Host in this process, closed when the test ends, with all Pods stopped.
func (l *lab) host(t testing.TB) *Host {
	t.Helper()
	host, err := l.newHost()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		uids := map[string]bool{}
		sandboxes, _ := host.Sandboxes(context.Background())
		for _, sandbox := range sandboxes {
			uids[sandbox.PodUID] = true
		}
		containers, _ := host.Containers(context.Background())
		for _, container := range containers {
			uids[container.PodUID] = true
		}
		for uid := range uids {
			if err := host.StopSandbox(context.Background(), uid); err != nil {
				t.Error(err)
			}
		}
		host.Close()
	})
	return host
}

// remove checks that no Pod has left anything, and removes the folder and the control groups.
func (l *lab) remove(t testing.TB) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && (strings.Contains(fields[1], l.Folder) || strings.Contains(fields[1], l.Name)) {
			t.Errorf("left mount %s", fields[1])
			if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Error(err)
	}
	for _, link := range links {
		if link.Type() == "veth" {
			t.Errorf("left link %s", link.Attrs().Name)
		}
	}
	groups, err := findCgroups("/" + l.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, mount := range groups.folders {
		left, _ := filepath.Glob(filepath.Join(mount, l.Name, "pod*"))
		for _, group := range left {
			t.Errorf("left control group %s", group)
		}
	}
	var last error // conmon may take a moment to end after its container
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if last = groups.remove(""); last == nil {
			break
		}
	}
	if last != nil {
		t.Error(last)
	}
	for _, below := range []string{"root/containers", "run/containers", "run/sandboxes", "run/runc"} {
		entries, _ := os.ReadDir(filepath.Join(l.Folder, below))
		for _, entry := range entries {
			t.Errorf("left %s/%s", below, entry.Name())
		}
	}
	if err := os.RemoveAll(l.Folder); err != nil {
		t.Error(err)
	}
}

// agent is this binary as an agent that starts a Pod with a container and then waits to be killed.
func (l *lab) startAgent(t testing.TB, podUID string) *exec.Cmd {
	t.Helper()
	description, err := json.Marshal(struct {
		Lab    *lab
		PodUID string
	}{l, podUID})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), agentVariable+"="+string(description))
	cmd.Stderr = os.Stderr
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatalf("agent: %v", err)
	}
	return cmd
}

func runAgent(description string) {
	var order struct {
		Lab    *lab
		PodUID string
	}
	err := json.Unmarshal([]byte(description), &order)
	var host *Host
	if err == nil {
		host, err = order.Lab.newHost()
	}
	if err == nil {
		_, err = host.StartSandbox(context.Background(), SandboxConfig{PodUID: order.PodUID, PodName: "web", PodNamespace: "default", Hostname: "web"})
	}
	if err == nil {
		_, err = host.StartContainer(context.Background(), order.Lab.container(order.PodUID, "/bin/program", "sleep"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print("x")
	select {}
}

// container is one that runs the arguments in the Pod.
func (l *lab) container(podUID string, args ...string) ContainerConfig {
	return ContainerConfig{
		PodUID: podUID, Name: "main", Image: "test/program", ImageID: "sha256:0", LayerDirs: []string{l.Layer}, Args: args,
		LogPath: filepath.Join(l.Folder, podUID+".log"), Labels: map[string]string{"a": "b"},
	}
}

func startPod(t testing.TB, host *Host, podUID string) Sandbox {
	t.Helper()
	sandbox, err := host.StartSandbox(context.Background(), SandboxConfig{PodUID: podUID, PodNamespace: "default", PodName: "web", Hostname: "web-0"})
	if err != nil {
		t.Fatal(err)
	}
	return sandbox
}

func start(t testing.TB, host *Host, config ContainerConfig) Container {
	t.Helper()
	container, err := host.StartContainer(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return container
}

// waitForLog waits until the container has written the text: a first process that has no handler yet ignores signals.
func waitForLog(t testing.TB, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if log, err := os.ReadFile(path); err == nil && strings.Contains(string(log), text) {
			return
		}
	}
	t.Fatalf("%s has no %q", path, text)
}

// ended waits for the container's exit and returns what is known of it then.
func ended(t testing.TB, host *Host, id string) Container {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		containers, err := host.Containers(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, container := range containers {
			if container.ID == id && container.State == Exited {
				return container
			}
		}
		select {
		case <-host.Exits():
		case <-timeout:
			t.Fatalf("container %s does not exit", id)
		}
	}
}
