package pods

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// run makes a container of the sandbox that was made at noon.
func run(name string, attempt int, state runtime.State, code int) runtime.Container {
	return runtime.Container{
		ID: fmt.Sprintf("%s-%d", name, attempt), Name: name, Attempt: attempt, State: state, ExitCode: code,
		Created: noon.Add(time.Duration(1+attempt) * time.Second), Started: noon.Add(time.Duration(1+attempt) * time.Second), Finished: noon.Add(time.Minute),
	}
}

// text is what the actions say, a word each.
func (a actions) text() string {
	var words []string
	if a.startSandbox {
		words = append(words, "start-sandbox")
	}
	for _, kill := range a.kill {
		words = append(words, fmt.Sprintf("kill:%s(%s,%v)", kill.id, kill.event, kill.grace))
	}
	for _, id := range a.remove {
		words = append(words, "remove:"+id)
	}
	for _, name := range a.start {
		words = append(words, "start:"+name)
	}
	if a.stopSandbox {
		words = append(words, "stop-sandbox")
	}
	if a.finished {
		words = append(words, "finished")
	}
	return strings.Join(words, " ")
}

func TestComputeActions(t *testing.T) {
	sandbox := &runtime.Sandbox{Started: noon}
	always := ptr.To(v1.ContainerRestartPolicyAlways)
	deleted := func(pod *v1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &metav1.Time{Time: noon}, ptr.To[int64](5)
	}
	withInit := func(pod *v1.Pod) { pod.Spec.InitContainers = []v1.Container{{Name: "init"}} }
	withSidecar := func(pod *v1.Pod) { pod.Spec.InitContainers = []v1.Container{{Name: "side", RestartPolicy: always}} }
	started := map[string]probeResults{"side-0": {started: true, ready: true}, "a-0": {started: true, ready: true}}
	for _, test := range []struct {
		name   string
		change []func(*v1.Pod)
		seen   observed
		want   string
	}{
		{"nothing is there", nil, observed{}, "start-sandbox"},
		{"sandbox only", nil, observed{sandbox: sandbox}, "start:a start:b"},
		{"one runs", nil, observed{sandbox: sandbox, containers: []runtime.Container{run("a", 0, runtime.Running, 0)}}, "start:b"},
		{"all run", nil, observed{sandbox: sandbox, containers: []runtime.Container{run("a", 0, runtime.Running, 0), run("b", 0, runtime.Running, 0)}}, ""},
		{"one has exited", nil, observed{sandbox: sandbox, containers: []runtime.Container{run("a", 0, runtime.Exited, 0), run("b", 0, runtime.Running, 0)}}, "start:a"},
		{"one backs off", nil, observed{sandbox: sandbox, waiting: map[string]waitReason{"a": {reason: reasonCrashLoop, until: noon.Add(2 * time.Hour)}},
			containers: []runtime.Container{run("a", 0, runtime.Exited, 0), run("b", 0, runtime.Running, 0)}}, ""},
		{"a hook holds the next one", nil, observed{sandbox: sandbox, hooks: map[string]bool{"a-0": true}, containers: []runtime.Container{run("a", 0, runtime.Running, 0)}}, ""},
		{"liveness has failed", nil, observed{sandbox: sandbox, probes: map[string]probeResults{"a-0": {failed: "liveness"}},
			containers: []runtime.Container{run("a", 0, runtime.Running, 0), run("b", 0, runtime.Running, 0)}}, "kill:a-0(Container a failed liveness probe, will be restarted,30s)"},
		{"it is being stopped already", nil, observed{sandbox: sandbox, probes: map[string]probeResults{"a-0": {failed: "liveness"}}, stopping: map[string]bool{"a-0": true},
			containers: []runtime.Container{run("a", 0, runtime.Running, 0), run("b", 0, runtime.Running, 0)}}, ""},
		{"old runs are removed", nil, observed{sandbox: sandbox, containers: []runtime.Container{
			run("a", 0, runtime.Exited, 1), run("a", 1, runtime.Exited, 1), run("a", 2, runtime.Running, 0), run("b", 0, runtime.Running, 0)}}, "remove:a-0"},
		{"the sandbox was lost", nil, observed{containers: []runtime.Container{run("a", 0, runtime.Running, 0)}},
			"kill:a-0(Pod sandbox changed, it will be killed and re-created.,30s)"},
		{"init first", []func(*v1.Pod){withInit}, observed{sandbox: sandbox}, "start:init"},
		{"init runs", []func(*v1.Pod){withInit}, observed{sandbox: sandbox, containers: []runtime.Container{run("init", 0, runtime.Running, 0)}}, ""},
		{"init has failed", []func(*v1.Pod){withInit}, observed{sandbox: sandbox, containers: []runtime.Container{run("init", 0, runtime.Exited, 1)}}, "start:init"},
		{"init is done", []func(*v1.Pod){withInit}, observed{sandbox: sandbox, containers: []runtime.Container{run("init", 0, runtime.Exited, 0)}}, "start:a start:b"},
		{"init was done in another sandbox", []func(*v1.Pod){withInit}, observed{sandbox: &runtime.Sandbox{Started: noon.Add(time.Hour)},
			containers: []runtime.Container{run("init", 0, runtime.Exited, 0)}}, "start:init"},
		{"sidecar first", []func(*v1.Pod){withSidecar}, observed{sandbox: sandbox}, "start:side"},
		{"sidecar not started", []func(*v1.Pod){withSidecar}, observed{sandbox: sandbox, containers: []runtime.Container{run("side", 0, runtime.Running, 0)}}, ""},
		{"sidecar started", []func(*v1.Pod){withSidecar}, observed{sandbox: sandbox, probes: started, containers: []runtime.Container{run("side", 0, runtime.Running, 0)}}, "start:a start:b"},
		{"sidecar stays while others run", []func(*v1.Pod){withSidecar, deleted}, observed{sandbox: sandbox,
			containers: []runtime.Container{run("side", 0, runtime.Running, 0), run("a", 0, runtime.Running, 0)}}, "kill:a-0(Stopping container a,5s)"},
		{"sidecar last", []func(*v1.Pod){withSidecar, deleted}, observed{sandbox: sandbox,
			containers: []runtime.Container{run("side", 0, runtime.Running, 0), run("a", 0, runtime.Exited, 0)}}, "kill:side-0(Stopping container side,5s)"},
		{"deleted", []func(*v1.Pod){deleted}, observed{sandbox: sandbox, containers: []runtime.Container{run("a", 0, runtime.Running, 0), run("b", 0, runtime.Running, 0)}},
			"kill:a-0(Stopping container a,5s) kill:b-0(Stopping container b,5s)"},
		{"deleted and stopped", []func(*v1.Pod){deleted}, observed{sandbox: sandbox, containers: []runtime.Container{run("a", 0, runtime.Exited, 0)}}, "stop-sandbox"},
		{"deleted and over", []func(*v1.Pod){deleted}, observed{}, "finished"},
		{"gone", nil, observed{gone: true, sandbox: sandbox, containers: []runtime.Container{run("a", 0, runtime.Exited, 0)}}, "remove:a-0 stop-sandbox"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "a"}, {Name: "b"}}}}
			for _, change := range test.change {
				change(pod)
			}
			test.seen.now = noon.Add(time.Hour)
			if got := computeActions(pod, &test.seen, false).text(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestComputeOutcome(t *testing.T) {
	for _, test := range []struct {
		name       string
		policy     v1.RestartPolicy
		containers []runtime.Container
		want       string
	}{
		{"runs", v1.RestartPolicyNever, []runtime.Container{run("a", 0, runtime.Running, 0), run("b", 0, runtime.Exited, 0)}, ""},
		{"never: done", v1.RestartPolicyNever, []runtime.Container{run("a", 0, runtime.Exited, 0), run("b", 0, runtime.Exited, 0)}, "Succeeded"},
		{"never: failed", v1.RestartPolicyNever, []runtime.Container{run("a", 0, runtime.Exited, 1), run("b", 0, runtime.Exited, 0)}, "Failed"},
		{"on failure: again", v1.RestartPolicyOnFailure, []runtime.Container{run("a", 0, runtime.Exited, 1), run("b", 0, runtime.Exited, 0)}, ""},
		{"always: again", v1.RestartPolicyAlways, []runtime.Container{run("a", 0, runtime.Exited, 0), run("b", 0, runtime.Exited, 0)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: test.policy, Containers: []v1.Container{{Name: "a"}, {Name: "b"}}}}
			got := ""
			if end := computeOutcome(pod, &observed{now: noon, containers: test.containers}); end != nil {
				got = string(end.phase)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCrashBackOff(t *testing.T) {
	var backOff crashBackOff
	now := noon
	var delays []time.Duration
	for range 8 {
		until := backOff.next(now, now)
		if until.IsZero() {
			delays = append(delays, 0)
			continue
		}
		delays = append(delays, until.Sub(now))
		now = until
		if again := backOff.next(now.Add(-backOff.delay), now); !again.IsZero() {
			t.Fatalf("still waits at %v", again)
		}
	}
	want := "[0s 10s 20s 40s 1m20s 2m40s 5m0s 5m0s]"
	if got := fmt.Sprint(delays); got != want {
		t.Errorf("delays %s, want %s", got, want)
	}
	if until := backOff.next(now.Add(time.Hour), now.Add(time.Hour)); !until.IsZero() || backOff.delay != crashBackOffFirst {
		t.Errorf("after an hour's run: %v, %v", until, backOff.delay)
	}
}

// What only waits for the API server is tried every second; other failures ever less often.
func TestRetry(t *testing.T) {
	var server, other retry
	for range 10 {
		server.failed(time.Unix(0, 0), fmt.Errorf("delete pod object: %w", &url.Error{Op: "Delete", Err: errors.New("connection refused")}))
		other.failed(time.Unix(0, 0), errors.New("disk full"))
	}
	if server.delay != retryUnreachable || other.delay != retryLongest {
		t.Errorf("delays %v and %v", server.delay, other.delay)
	}
}
