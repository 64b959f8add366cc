package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/examples/classroom"
	"github.com/kubelite/kubelite/internal/netns"
)

// wantFailure runs a command that must fail and say all of the texts, without a stack trace.
func wantFailure(ctx context.Context, t *testing.T, room *classroom.Classroom, arguments []string, texts ...string) {
	t.Helper()
	err := room.Kubelite(ctx, io.Discard, arguments...)
	if err == nil {
		t.Errorf("kubelite %v succeeds", arguments)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("it says\n%v\nwant\n%s", err, text)
		}
	}
	if strings.Contains(err.Error(), "goroutine ") || ctx.Err() != nil {
		t.Errorf("a stack trace or a hang: %v", err)
	}
}

var upArguments = []string{"up", "--nodes", "2", "--uplink", "off"}

// TestDamagedState damages files of a cluster that is down. Each is named with its remedy, and when it is whole again so is the
// cluster.
func TestDamagedState(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	room := startRoom(ctx, t, "damaged")
	writeConfigMap(ctx, t, newClient(t, room), "kept")
	folder := filepath.Join("/var/lib/kubelite", room.Name)
	const store, restore = "server/kubelite.db", "restore the file from a copy, or move it away"
	for _, damage := range []struct {
		name, file string
		change     func([]byte) []byte
		want       []string
	}{
		{"a store cut short", store, func(data []byte) []byte { return data[:len(data)/4] }, []string{store, restore}},
		{"a store of zeros", store, func(data []byte) []byte { return make([]byte, len(data)) }, []string{store, restore}},
		{"another file as the store", store, func([]byte) []byte { return []byte("hello\n") }, []string{store, restore}},
		{"an object's bytes changed", store, func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("kept"), []byte("kepx")) },
			[]string{store, "kep", "damaged"}},
		{"cluster.json without content", "cluster.json", func([]byte) []byte { return []byte("{}\n") },
			[]string{"cluster.json is damaged", "`kubelite down --purge --name damaged`"}},
		{"no authority certificate", "server/pki/ca.crt", func([]byte) []byte { return nil }, []string{"server/pki/ca.crt", "restore it from a copy"}},
		{"no authority key", "server/pki/ca.key", func([]byte) []byte { return []byte("key") }, []string{"server/pki/ca.key", "restore it from a copy"}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			if err := room.Kubelite(ctx, io.Discard, "down"); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, damage.file)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage.change(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			wantFailure(ctx, t, room, upArguments, damage.want...)
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(folder, "kubeconfig"), []byte("x"), 0o600); err != nil { // it is written anew
		t.Fatal(err)
	}
	if err := room.Up(ctx, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, room).CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// TestTakenPorts takes the API server's port and an agent's before `up` does. Without them, or with another, it goes on.
func TestTakenPorts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	room := newRoom(ctx, t, "taken")
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	wantFailure(ctx, t, room, append(upArguments, "--api-port", strconv.Itoa(port)),
		fmt.Sprintf("the API server's address 127.0.0.1:%d is taken by another program", port), "kubelite up --api-port PORT --name taken")

	other, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := other.Addr().(*net.TCPAddr).Port
	other.Close()
	node := lab.DefaultNetwork(room.Name, 2).NodeList()[0]
	agentPort := net.JoinHostPort(node.Address.String(), "10250")
	thief, err := netns.Listen(node.NetNS, "tcp4", agentPort)
	if err != nil {
		t.Fatal(err)
	}
	wantFailure(ctx, t, room, append(upArguments, "--api-port", strconv.Itoa(free)), "node-1 ended", agentPort, "address already in use")
	thief.Close()
	if err := room.Up(ctx, io.Discard); err != nil {
		t.Error(err)
	}
}

// TestMissingTools hides programs from `up`: it names all of them at once, and makes nothing.
func TestMissingTools(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	room := newRoom(ctx, t, "tools")
	const hide = `for tool in runc conmon iptables; do mount --bind /dev/null "$(readlink -f "$(command -v $tool)")" || exit 99; done; exec "$@"`
	command := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-c", hide, "sh", room.Binary()}, upArguments...)...)
	command.Env = append(room.Environment, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v: %s", err, output)
	}
	for _, want := range []string{
		"the program runc is not installed", "the program conmon is not installed", "the program iptables is not installed",
		"sudo apt-get install --yes --no-install-recommends iptables runc conmon",
	} {
		if !strings.Contains(string(output), want) {
			t.Errorf("it says\n%s\nwant\n%s", output, want)
		}
	}
	for _, trace := range traces(t, room.Name) {
		t.Errorf("it made %s", trace)
	}
}

// TestFullDisk fills the disk of a running cluster's store. Writes are refused with the cause, everything else goes on, and when
// there is space again so do the writes.
func TestFullDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	room := newRoom(ctx, t, "fulldisk")
	disk := filepath.Join("/var/lib/kubelite", room.Name, "server")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil { // `down` unmounts it
		t.Fatal(err)
	}
	if err := room.Up(ctx, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := room.Apply(ctx, manifest); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, room)
	before := waitForPods(ctx, t, client)

	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	kept := map[string]bool{}
	var refusal error
	for i := 0; refusal == nil && i < 1000; i++ { // the file may have free pages yet
		name := "big-" + strconv.Itoa(i)
		if refusal = createConfigMap(ctx, client, name, strings.Repeat("x", 100<<10)); refusal == nil {
			kept[name] = true
		}
	}
	if refusal == nil || !strings.Contains(refusal.Error(), "no space left on device") || !strings.Contains(refusal.Error(), `configmaps "big-`) {
		t.Errorf("on a full disk: %v", refusal)
	}
	for name := range kept {
		if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	if err := room.Kubelite(ctx, io.Discard, "exec", "deploy/kubia", "--", "true"); err != nil {
		t.Error(err)
	}
	kill(ctx, t, room, crash{"server"})
	if err := room.Up(ctx, io.Discard); err != nil { // reading needs no space
		t.Error(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	writeConfigMap(ctx, t, client, "after")
	for name := range kept {
		if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	if after := waitForPods(ctx, t, client); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the containers were %v and are %v", before, after)
	}
}

// fill writes to a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func createConfigMap(ctx context.Context, client kubernetes.Interface, name, value string) error {
	_, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Data:       map[string]string{"value": value},
	}, metav1.CreateOptions{})
	return err
}

func writeConfigMap(ctx context.Context, t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	if err := createConfigMap(ctx, client, name, "x"); err != nil {
		t.Fatal(err)
	}
}
