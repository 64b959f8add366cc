package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/examples/classroom"
)

// TestConcurrentUps runs `up` many times at once, and `down` among them: one makes the cluster, the others say that it is at work
// or that all is there, and what comes of it is whole.
func TestConcurrentUps(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	room := newRoom(ctx, t, "atonce")
	said := make([]string, 6)
	var work sync.WaitGroup
	for i := range said {
		work.Go(func() {
			arguments := upArguments
			if i == len(said)-1 {
				arguments = []string{"down"}
			}
			var out strings.Builder
			err := room.Kubelite(ctx, &out, arguments...)
			said[i] = out.String()
			switch {
			case err == nil && (strings.Contains(out.String(), "is up after") || strings.Contains(out.String(), "is already running")):
			case err == nil && i == len(said)-1:
			case err != nil && strings.Contains(out.String(), "another `kubelite up` or `kubelite down` of cluster \"atonce\" is at work"):
			default:
				t.Errorf("kubelite %v: %v", arguments, err)
			}
		})
	}
	work.Wait()
	if err := room.Up(ctx, io.Discard); err != nil {
		t.Fatalf("%v\nafter\n%s", err, strings.Join(said, "\n"))
	}
	if err := room.Apply(ctx, manifest); err != nil {
		t.Fatal(err)
	}
	waitForPods(ctx, t, newClient(t, room))
}

// TestTwoClusters boots two clusters at once, with one kubeconfig. They have the same addresses and do not see each other, and
// what ends the one leaves the other alone.
func TestTwoClusters(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	rooms := []*classroom.Classroom{newRoom(ctx, t, "left"), newRoom(ctx, t, "left-2")} // one name begins with the other
	var work sync.WaitGroup
	for _, room := range rooms {
		work.Go(func() {
			if err := room.Up(ctx, io.Discard); err != nil {
				t.Error(err)
				return
			}
			if err := room.Apply(ctx, manifest); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if t.Failed() {
		return
	}
	if one, other := statusOf(ctx, t, rooms[0]).Server, statusOf(ctx, t, rooms[1]).Server; one == other {
		t.Errorf("both API servers are %s", one)
	}
	first, second := newClient(t, rooms[0]), newClient(t, rooms[1])
	mine := waitForPods(ctx, t, first)
	theirs := waitForPods(ctx, t, second)
	writeConfigMap(ctx, t, first, "only-here")
	if err := createConfigMap(ctx, second, "only-here", "y"); err != nil {
		t.Errorf("the other cluster has it too: %v", err)
	}
	if err := rooms[0].Kubelite(ctx, io.Discard, "down"); err != nil {
		t.Fatal(err)
	}
	if after := waitForPods(ctx, t, second); !maps.Equal(theirs, after) {
		t.Errorf("the other cluster's containers were %v and are %v", theirs, after)
	}
	if err := rooms[0].Up(ctx, io.Discard); err != nil {
		t.Fatal(err)
	}
	again := waitForPods(ctx, t, first)
	if !slices.Equal(slices.Sorted(maps.Keys(mine)), slices.Sorted(maps.Keys(again))) {
		t.Errorf("the Pods were %v and are %v", mine, again)
	}
}

// randomKills is how often TestKillAnywhere kills.
const randomKills = 12

// TestKillAnywhere kills processes of a cluster, among them `up` itself, at random moments of rollouts. What was acknowledged is
// kept; in the end the Deployment is as it was last asked for, and each Pod has what one Pod has.
func TestKillAnywhere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	room := startRoom(ctx, t, "anywhere")
	if err := room.Apply(ctx, manifest); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, room)
	waitForPods(ctx, t, client)
	writer := &writer{client: client, written: map[string]string{}}
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { writer.run(working) })

	random := rand.New(rand.NewPCG(1, 2))
	moment := func() time.Duration { return time.Duration(random.IntN(400)) * time.Millisecond }
	for round := range randomKills {
		change := strings.Replace(manifest, "image: luksa/kubia", fmt.Sprintf("image: luksa/kubia, env: [{name: ROUND, value: '%d'}]", round), 1)
		change = strings.Replace(change, "spec:\n      containers", "spec:\n      terminationGracePeriodSeconds: 0\n      containers", 1)
		apply(ctx, t, room, change)
		time.Sleep(moment()) // the moment is what is tried
		victims := [][]string{{"server"}, {"agent node-1"}, {"agent node-2"}, {"server", "agent node-1", "agent node-2"}}[random.IntN(4)]
		for _, process := range statusOf(ctx, t, room).Processes {
			if slices.Contains(victims, process.Name) && process.PID != 0 {
				_ = syscall.Kill(process.PID, syscall.SIGKILL) // else a killed `up` has not started it yet
			}
		}
		up := exec.CommandContext(ctx, room.Binary(), upArguments...)
		up.Env = room.Environment
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(moment())
		_ = up.Process.Kill() // it may have ended
		_ = up.Wait()
		if round%4 == 3 {
			if err := room.Up(ctx, io.Discard); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			writer.check(ctx, t)
		}
	}
	stop()
	work.Wait()
	if err := room.Kubelite(ctx, io.Discard, "rollout", "status", "deployment/kubia", "--timeout=60s"); err != nil {
		t.Error(err)
	}
	writer.check(ctx, t)
	t.Logf("%d writes were acknowledged", writer.count())
	waitForNamespaces(ctx, t, room.Name, 2+1) // kubia and DNS
	for container := range waitForPods(ctx, t, client) {
		if err := room.Kubelite(ctx, io.Discard, "exec", container, "--", "true"); err != nil {
			t.Error(err)
		}
	}
	waitForLinks(ctx, t, room)
}

// apply applies a manifest as soon as there is a server.
func apply(ctx context.Context, t *testing.T, room *classroom.Classroom, manifest string) {
	t.Helper()
	for {
		problem := room.Apply(ctx, manifest)
		if problem == nil {
			return
		}
		if err := room.Up(ctx, io.Discard); err != nil || !pause(ctx) {
			t.Fatalf("apply: %v; then up: %v", problem, err)
		}
	}
}

// waitForNamespaces waits until the cluster has the namespaces of so many Pods, and no others.
func waitForNamespaces(ctx context.Context, t *testing.T, cluster string, pods int) {
	t.Helper()
	for {
		namespaces, err := lab.Namespaces(cluster)
		if err != nil {
			t.Fatal(err)
		}
		namespaces = slices.DeleteFunc(namespaces, func(name string) bool { return !strings.HasPrefix(name, cluster+"-pod-") })
		if len(namespaces) == pods {
			return
		}
		if !pause(ctx) {
			t.Fatalf("%d Pods have namespaces %q", pods, namespaces)
		}
	}
}

// waitForLinks waits until the nodes have a link for each of the cluster's Pods, and no others.
func waitForLinks(ctx context.Context, t *testing.T, room *classroom.Classroom) {
	t.Helper()
	for {
		links := 0
		var said strings.Builder
		for _, node := range []string{"node-1", "node-2"} {
			if err := room.Kubelite(ctx, &said, "node", "exec", node, "--", "ip", "-o", "link", "show", "type", "veth"); err != nil {
				t.Fatal(err)
			}
		}
		for line := range strings.Lines(said.String()) {
			if !strings.Contains(line, ": eth0@") { // the node's own
				links++
			}
		}
		if links == 2+1 {
			return
		}
		if !pause(ctx) {
			t.Fatalf("the nodes have the links\n%s", said.String())
		}
	}
}

// status is what the tests read of `kubelite status`.
type status struct {
	Server    string
	Processes []struct {
		Name string
		PID  int
	}
}

func statusOf(ctx context.Context, t *testing.T, room *classroom.Classroom) status {
	t.Helper()
	var output strings.Builder
	if err := room.Kubelite(ctx, &output, "status", "-o", "json"); err != nil {
		t.Fatal(err)
	}
	var s status
	if err := json.Unmarshal([]byte(output.String()), &s); err != nil {
		t.Fatal(err)
	}
	return s
}
