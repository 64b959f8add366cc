package nodeagent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubelite/kubelite/nodeagent/pods"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

func TestRoutesTo(t *testing.T) {
	node := func(name, network, address string) *v1.Node {
		object := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.NodeSpec{PodCIDR: network}}
		if address != "" {
			object.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeHostName, Address: name}, {Type: v1.NodeInternalIP, Address: address}}
		}
		return object
	}
	got := routesTo([]*v1.Node{
		node("self", "10.244.0.0/24", "192.168.1.2"), node("two", "10.244.1.0/24", "192.168.1.3"),
		node("no network", "", "192.168.1.4"), node("no address", "10.244.3.0/24", ""), node("odd", "nonsense", "nonsense"),
	}, "self")
	if want := "map[10.244.1.0/24:192.168.1.3]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestNodeStatusKeepsWhatIsOthers(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	before := v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse}}}
	first := nodeStatus(before, machine{}, "node-1", []string{"192.168.1.2"}, 10250, "no podCIDR", now)
	second := nodeStatus(first, machine{}, "node-1", []string{"192.168.1.2"}, 10250, "", now.Add(time.Minute))
	third := nodeStatus(second, machine{}, "node-1", []string{"192.168.1.2"}, 10250, "", now.Add(time.Hour))
	var lines []string
	for _, status := range []v1.NodeStatus{first, second, third} {
		for _, condition := range status.Conditions {
			if condition.Type == v1.NodeReady {
				lines = append(lines, fmt.Sprintf("%s %s %q since %v", condition.Status, condition.Reason, condition.Message, condition.LastTransitionTime.UTC().Format(time.TimeOnly)))
			}
		}
		if len(status.Conditions) != 5 || status.Conditions[0].Type != v1.NodeNetworkUnavailable {
			t.Errorf("conditions %+v", status.Conditions)
		}
	}
	want := []string{
		`False KubeletNotReady "no podCIDR" since 12:00:00`,
		`True KubeletReady "kubelet is posting ready status" since 12:01:00`,
		`True KubeletReady "kubelet is posting ready status" since 12:01:00`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q", lines)
	}
}

func TestMachine(t *testing.T) {
	got, err := inspectMachine(t.TempDir(), "runc://1", 42)
	if err != nil || got.capacity.Cpu().Value() < 1 || got.capacity.Memory().Value() < 1<<20 || got.capacity.Pods().Value() != 42 ||
		got.info.KernelVersion == "" || got.info.OSImage == "" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := totalMemory(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no memory, no error")
	}
}

func TestRepository(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io/library/nginx:1": "docker.io/library/nginx", "127.0.0.1:5000/a": "127.0.0.1:5000/a", "a/b:c@sha256:0": "a/b",
	} {
		if got := repository(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// noMachine is a backend that runs nothing; Start fails until it is allowed.
type noMachine struct {
	mutex   sync.Mutex
	started []netip.Prefix
	routes  string
	refuse  int
}

func (m *noMachine) Version() string     { return "runc://0" }
func (m *noMachine) Images() pods.Images { return imageStore{} }
func (m *noMachine) Close() error        { return nil }

func (m *noMachine) Start(_ context.Context, networks []netip.Prefix) (runtime.Runtime, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.started = append(m.started, networks[0])
	if len(m.started) <= m.refuse {
		return nil, fmt.Errorf("no network")
	}
	return idle{}, nil
}

func (m *noMachine) SetRoutes(routes map[netip.Prefix]netip.Addr) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.routes = fmt.Sprint(routes)
	return nil
}

// idle is a runtime without Pods.
type idle struct{ runtime.Runtime }

func (idle) Containers(context.Context) ([]runtime.Container, error) { return nil, nil }
func (idle) Sandboxes(context.Context) ([]runtime.Sandbox, error)    { return nil, nil }
func (idle) Exits() <-chan runtime.Exit                              { return nil }

// testConfig is an agent's on a free port of the loopback.
func testConfig(t *testing.T) Config {
	folder := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	config := Config{
		NodeName: "node-1", NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: port, MaxPods: 110,
		RootDir: filepath.Join(folder, "root"), RunDir: filepath.Join(folder, "run"), ImagesDir: filepath.Join(folder, "images"),
		ClientCAFile: filepath.Join(folder, "ca.crt"),
	}
	if err := selfSign(config.ClientCAFile, filepath.Join(folder, "ca.key"), config); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestRunRegistersAndBecomesReady(t *testing.T) {
	client := fake.NewClientset(&v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-2"}, Spec: v1.NodeSpec{PodCIDR: "10.244.1.0/24"},
		Status: v1.NodeStatus{Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.168.1.3"}}},
	})
	machine := &noMachine{refuse: 1}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, testConfig(t), client, machine) }()
	node := waitForNode(t, client, "registered and not ready", func(node *v1.Node) bool { return len(node.Status.Conditions) == 4 && !isReady(node) })
	if node.Labels[v1.LabelHostname] != "node-1" || node.Status.NodeInfo.ContainerRuntimeVersion != "runc://0" || node.Status.DaemonEndpoints.KubeletEndpoint.Port == 0 {
		t.Errorf("%+v", node)
	}
	node.Spec.PodCIDR = "10.244.0.0/24"
	if _, err := client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForNode(t, client, "ready", isReady)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		machine.mutex.Lock()
		routes, started := machine.routes, len(machine.started)
		machine.mutex.Unlock()
		lease, err := client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(ctx, "node-1", metav1.GetOptions{})
		if routes == "map[10.244.1.0/24:192.168.1.3]" && started == 2 && err == nil && *lease.Spec.HolderIdentity == "node-1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("routes %s, starts %d, lease %v", routes, started, err)
		}
	}
	// Somebody deletes the object: it is made again.
	if err := client.CoreV1().Nodes().Delete(ctx, "node-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForNode(t, client, "registered again", isReady)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A restarted agent does not say that its node is not ready before it knows.
func TestRestartLeavesNodeReady(t *testing.T) {
	ready := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Spec: v1.NodeSpec{PodCIDR: "10.244.0.0/24"},
		Status: v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}
	client := fake.NewClientset(ready)
	watcher, err := client.CoreV1().Nodes().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, testConfig(t), client, &noMachine{}) }()
	for written := false; !written; {
		event := <-watcher.ResultChan()
		node := event.Object.(*v1.Node)
		if !isReady(node) {
			t.Errorf("not ready: %+v", node.Status.Conditions)
		}
		written = node.Status.NodeInfo.ContainerRuntimeVersion != ""
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func waitForNode(t *testing.T, client *fake.Clientset, what string, wanted func(*v1.Node) bool) *v1.Node {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		node, err := client.CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{})
		if err == nil && wanted(node) {
			return node
		}
		if time.Now().After(deadline) {
			t.Fatalf("never %s: %+v, %v", what, node, err)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name   string
		change func(*Config)
	}{
		{"a taken port", func(config *Config) { config.Port = taken.Addr().(*net.TCPAddr).Port }},
		{"a missing CA", func(config *Config) { config.ClientCAFile += ".none" }},
		{"a file where the folder should be", func(config *Config) {
			config.RootDir = filepath.Join(filepath.Dir(config.RootDir), "file")
			if err := os.WriteFile(config.RootDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		config := testConfig(t)
		test.change(&config)
		if err := run(t.Context(), config, fake.NewClientset(), &noMachine{}); err == nil {
			t.Errorf("%s: no error", test.name)
		} else {
			t.Log(err)
		}
	}
	if err := Run(t.Context(), Config{}); err == nil {
		t.Error("an empty config: no error")
	}
}
