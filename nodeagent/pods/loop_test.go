package pods

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/nodeagent/objects"
	"github.com/kubelite/kubelite/nodeagent/prober"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// lab is a node with a fake machine and client-go's fake API.
type lab struct {
	t       *testing.T
	client  *fake.Clientset
	machine *fakeRuntime
	images  *fakeImages
	volumes *fakeVolumes
	events  *eventList
	folder  string
	loop    *Loop
	stop    func()
}

type eventList struct {
	mutex sync.Mutex
	lines []string
}

func (e *eventList) add(object apiruntime.Object, kind, reason, message string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.lines = append(e.lines, fmt.Sprintf("%s %s %s", kind, reason, message))
}

func (e *eventList) Event(object apiruntime.Object, kind, reason, message string) {
	e.add(object, kind, reason, message)
}
func (e *eventList) Eventf(object apiruntime.Object, kind, reason, format string, args ...any) {
	e.add(object, kind, reason, fmt.Sprintf(format, args...))
}
func (e *eventList) AnnotatedEventf(object apiruntime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	e.add(object, kind, reason, fmt.Sprintf(format, args...))
}
func (e *eventList) all() []string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return slices.Clone(e.lines)
}

func newLab(t *testing.T, existing ...apiruntime.Object) *lab {
	l := &lab{
		t: t, client: fake.NewClientset(existing...), machine: newFakeRuntime(), volumes: &fakeVolumes{made: map[string]bool{}, count: map[string]int{}},
		events: &eventList{}, folder: t.TempDir(),
		images: &fakeImages{there: map[string]*Image{"app": {ID: "sha256:1", Cmd: []string{"/app"}}}, pullable: map[string]*Image{"far": {ID: "sha256:2", Cmd: []string{"/far"}, Size: 5}}},
	}
	l.start()
	return l
}

// start runs an agent's Pod loop until stop, or the test's end.
func (l *lab) start() {
	ctx, cancel := context.WithCancel(context.Background())
	references := objects.New(ctx, l.client, func(namespace string) { l.loop.ObjectChanged(namespace) })
	l.loop = New(Config{
		Client: l.client, Runtime: l.machine, Images: l.images, Volumes: l.volumes, Objects: references, Recorder: l.events,
		Prober: prober.New(func(ctx context.Context, id string, command []string) ([]byte, int, error) {
			code, err := l.machine.Exec(ctx, id, command, runtime.Streams{})
			return []byte("probe says no"), code, err
		}),
		Services: func() []*v1.Service { return nil }, NodeName: "node-1", NodeIPs: []string{"192.168.1.2"},
		PodDir: l.folder + "/pods", LogDir: l.folder + "/logs", DNS: DNS{Servers: []string{"10.96.0.10"}, Domain: "cluster.local"},
	})
	done := make(chan error, 1)
	go func() { done <- l.loop.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	})
	l.t.Cleanup(func() { l.stop() })
}

func (l *lab) pod(name string, change ...func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Generation: 1},
		Spec: v1.PodSpec{
			NodeName: "node-1", RestartPolicy: v1.RestartPolicyAlways, TerminationGracePeriodSeconds: ptr.To[int64](30),
			Containers: []v1.Container{{Name: "main", Image: "app", ImagePullPolicy: v1.PullIfNotPresent, TerminationMessagePath: "/dev/termination-log"}},
		},
		Status: v1.PodStatus{Phase: v1.PodPending, Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue}}},
	}
	for _, change := range change {
		change(pod)
	}
	return pod
}

func (l *lab) create(pod *v1.Pod) {
	l.t.Helper()
	if _, err := l.client.CoreV1().Pods(pod.Namespace).Create(l.t.Context(), pod, metav1.CreateOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

// wait returns the Pod as soon as it is as wanted.
func (l *lab) wait(name string, what string, wanted func(*v1.Pod) bool) *v1.Pod {
	l.t.Helper()
	var pod *v1.Pod
	l.eventually(what, func() bool {
		var err error
		pod, err = l.client.CoreV1().Pods("default").Get(l.t.Context(), name, metav1.GetOptions{})
		return err == nil && wanted(pod)
	}, func() string { return fmt.Sprintf("%+v", pod.Status) })
	return pod
}

// eventually gives what the loop does in other goroutines ample time; nothing is measured by it.
func (l *lab) eventually(what string, wanted func() bool, explain ...func() string) {
	l.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if wanted() {
			return
		}
	}
	text := strings.Join(l.events.all(), "\n")
	for _, explain := range explain {
		text += "\n" + explain()
	}
	l.t.Fatalf("never: %s\n%s", what, text)
}

func (l *lab) hasEvent(line string) {
	l.t.Helper()
	l.eventually("event "+line, func() bool { return slices.Contains(l.events.all(), line) })
}

func isReady(pod *v1.Pod) bool {
	condition := findCondition(&pod.Status, v1.PodReady)
	return condition != nil && condition.Status == v1.ConditionTrue
}

// restartsOf is the first container's count of restarts, 0 as long as it has no status.
func restartsOf(pod *v1.Pod) int32 {
	if len(pod.Status.ContainerStatuses) == 0 {
		return 0
	}
	return pod.Status.ContainerStatuses[0].RestartCount
}

func waitsFor(reason string) func(*v1.Pod) bool {
	return func(pod *v1.Pod) bool {
		return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Waiting != nil &&
			pod.Status.ContainerStatuses[0].State.Waiting.Reason == reason
	}
}

func TestPodRunsAndEnds(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("web"))
	pod := l.wait("web", "ready", isReady)
	if pod.Status.PodIP != "10.244.0.2" || pod.Status.Phase != v1.PodRunning || pod.Status.HostIP != "192.168.1.2" {
		t.Errorf("status %+v", pod.Status)
	}
	if findCondition(&pod.Status, v1.PodScheduled) == nil {
		t.Error("PodScheduled is lost")
	}
	l.hasEvent(`Normal Pulled Container image "app" already present on machine and can be accessed by the pod`)
	l.hasEvent("Normal Created Container created")
	l.hasEvent("Normal Started Container started")

	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.Now()), ptr.To[int64](30)
	if _, err := l.client.CoreV1().Pods("default").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.eventually("object deleted", func() bool {
		_, err := l.client.CoreV1().Pods("default").Get(t.Context(), "web", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	l.hasEvent("Normal Killing Stopping container main")
	l.eventually("nothing left", func() bool { return len(l.machine.list()) == 0 && l.loop.worker("uid-web") == nil })
	if signals := l.machine.signalled(); !slices.Equal(signals, []string{"SIGTERM"}) {
		t.Errorf("signals %v", signals)
	}
	for _, action := range l.client.Actions() {
		if action.Matches("delete", "pods") {
			return
		}
	}
	t.Error("the API object was not deleted by the agent")
}

func TestAgentRestartAdopts(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("web"))
	before := l.wait("web", "ready", isReady)
	l.stop()
	l.start()
	l.eventually("adopted", func() bool { w := l.loop.worker("uid-web"); return w != nil && w.view().latest("main") != nil })
	after := l.wait("web", "still ready", isReady)
	if starts := l.machine.started(); !slices.Equal(starts, []string{"main/0"}) {
		t.Errorf("starts %v", starts)
	}
	if before.Status.ContainerStatuses[0].ContainerID != after.Status.ContainerStatuses[0].ContainerID || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("container changed: %+v", after.Status)
	}
	// Its exit while no agent was there is noticed too.
	l.stop()
	l.machine.exitByName("main", 3)
	l.start()
	pod := l.wait("web", "restarted", func(pod *v1.Pod) bool { return isReady(pod) && pod.Status.ContainerStatuses[0].RestartCount == 1 })
	if last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("last state %+v", last)
	}
}

func TestRebootStartsAnew(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("web"))
	l.wait("web", "ready", isReady)
	l.stop()
	l.machine.mutex.Lock()
	l.machine.containers, l.machine.sandboxes = nil, map[string]runtime.Sandbox{}
	l.machine.mutex.Unlock()
	l.start()
	pod := l.wait("web", "run again", func(pod *v1.Pod) bool {
		return isReady(pod) && pod.Status.ContainerStatuses[0].RestartCount == 1 && pod.Status.PodIP == "10.244.0.4"
	})
	if last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 137 || last.Reason != "ContainerStatusUnknown" {
		t.Errorf("last state %+v", last)
	}
}

func TestOrphansAreEnded(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("web"))
	l.wait("web", "ready", isReady)
	l.stop()
	if err := l.client.CoreV1().Pods("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.eventually("orphan ended", func() bool {
		uids, _ := l.volumes.List()
		return len(l.machine.list()) == 0 && len(uids) == 0
	})
}

func TestForcedDeletion(t *testing.T) {
	l := newLab(t)
	l.machine.ignoreTERM = true
	l.create(l.pod("web", func(pod *v1.Pod) { pod.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1) }))
	l.wait("web", "ready", isReady)
	if err := l.client.CoreV1().Pods("default").Delete(t.Context(), "web", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil {
		t.Fatal(err)
	}
	l.eventually("nothing left", func() bool { return len(l.machine.list()) == 0 })
	if signals := l.machine.signalled(); !slices.Equal(signals, []string{"SIGTERM", "SIGKILL"}) {
		t.Errorf("signals %v", signals)
	}
}

func TestCrashLoop(t *testing.T) {
	l := newLab(t)
	l.machine.exitCode["main"] = 1
	l.create(l.pod("crash"))
	pod := l.wait("crash", "CrashLoopBackOff", waitsFor(reasonCrashLoop))
	status := pod.Status.ContainerStatuses[0]
	if want := "back-off 10s restarting failed container=main pod=crash_default(uid-crash)"; status.State.Waiting.Message != want {
		t.Errorf("message %q, want %q", status.State.Waiting.Message, want)
	}
	if status.RestartCount != 1 || status.LastTerminationState.Terminated == nil || pod.Status.Phase != v1.PodRunning {
		t.Errorf("status %+v", status)
	}
	l.hasEvent("Warning BackOff Back-off restarting failed container main in pod crash_default(uid-crash)")
}

func TestRestartPolicies(t *testing.T) {
	for _, test := range []struct {
		policy v1.RestartPolicy
		code   int
		phase  v1.PodPhase
	}{
		{v1.RestartPolicyNever, 0, v1.PodSucceeded},
		{v1.RestartPolicyNever, 2, v1.PodFailed},
		{v1.RestartPolicyOnFailure, 0, v1.PodSucceeded},
	} {
		t.Run(fmt.Sprintf("%s-%d", test.policy, test.code), func(t *testing.T) {
			l := newLab(t)
			l.machine.exitCode["main"] = test.code
			l.create(l.pod("job", func(pod *v1.Pod) { pod.Spec.RestartPolicy = test.policy }))
			pod := l.wait("job", "over", func(pod *v1.Pod) bool { return pod.Status.Phase == test.phase })
			if state := pod.Status.ContainerStatuses[0].State.Terminated; state == nil || int(state.ExitCode) != test.code {
				t.Errorf("state %+v", pod.Status.ContainerStatuses[0].State)
			}
			l.eventually("sandbox gone", func() bool { all, _ := l.machine.Sandboxes(t.Context()); return len(all) == 0 })
			log, err := l.loop.ContainerLog("default", "job", "main", false)
			if err != nil || log.Path == "" {
				t.Errorf("log %v %v", log, err)
			}
			l.stop()
			l.start()
			l.eventually("adopted", func() bool { w := l.loop.worker("uid-job"); return w != nil && w.view().latest("main") != nil })
			if starts := l.machine.started(); len(starts) != 1 {
				t.Errorf("starts %v", starts)
			}
		})
	}
}

func TestInitContainersAndSidecar(t *testing.T) {
	l := newLab(t)
	l.machine.exitCode["first"] = 0
	l.create(l.pod("init", func(pod *v1.Pod) {
		pod.Spec.InitContainers = []v1.Container{
			{Name: "first", Image: "app"},
			{Name: "side", Image: "app", RestartPolicy: ptr.To(v1.ContainerRestartPolicyAlways)},
		}
	}))
	pod := l.wait("init", "ready", isReady)
	if starts := l.machine.started(); !slices.Equal(starts, []string{"first/0", "side/0", "main/0"}) {
		t.Errorf("starts %v", starts)
	}
	if initialized := findCondition(&pod.Status, v1.PodInitialized); initialized.Status != v1.ConditionTrue {
		t.Errorf("%+v", initialized)
	}
	if first := pod.Status.InitContainerStatuses[0]; !first.Ready || first.State.Terminated == nil || first.State.Terminated.Reason != "Completed" {
		t.Errorf("%+v", first)
	}
}

func TestImages(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("pulled", func(pod *v1.Pod) { pod.Spec.Containers[0].Image = "far" }))
	l.wait("pulled", "ready", isReady)
	l.hasEvent(`Normal Pulling Pulling image "far"`)
	l.create(l.pod("missing", func(pod *v1.Pod) { pod.Spec.Containers[0].Image = "nowhere" }))
	pod := l.wait("missing", "ErrImagePull", waitsFor("ErrImagePull"))
	if message := pod.Status.ContainerStatuses[0].State.Waiting.Message; message != "registry example.test: no such image nowhere" {
		t.Errorf("message %q", message)
	}
	l.hasEvent(`Warning Failed Failed to pull image "nowhere": registry example.test: no such image nowhere`)
	l.hasEvent("Warning Failed Error: ErrImagePull")
	l.create(l.pod("never", func(pod *v1.Pod) {
		pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = "nowhere", v1.PullNever
	}))
	l.wait("never", "ErrImageNeverPull", waitsFor("ErrImageNeverPull"))
	l.create(l.pod("invalid", func(pod *v1.Pod) { pod.Spec.Containers[0].Image = "Not Valid" }))
	l.wait("invalid", "InvalidImageName", waitsFor("InvalidImageName"))
	pod = l.wait("missing", "ImagePullBackOff", waitsFor("ImagePullBackOff"))
	if message := pod.Status.ContainerStatuses[0].State.Waiting.Message; !strings.HasPrefix(message, `Back-off pulling image "nowhere": ErrImagePull: `) {
		t.Errorf("message %q", message)
	}
}

func TestMissingConfigMapIsWaitedFor(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("config", func(pod *v1.Pod) {
		pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{
			LocalObjectReference: v1.LocalObjectReference{Name: "settings"}, Key: "a"}}}}
	}))
	pod := l.wait("config", "CreateContainerConfigError", waitsFor(reasonConfigError))
	if message := pod.Status.ContainerStatuses[0].State.Waiting.Message; message != `configmap "settings" not found` {
		t.Errorf("message %q", message)
	}
	l.hasEvent(`Warning Failed Error: configmap "settings" not found`)
	settings := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: "default"}, Data: map[string]string{"a": "1"}}
	if _, err := l.client.CoreV1().ConfigMaps("default").Create(t.Context(), settings, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.wait("config", "ready once it is there", isReady)
}

func TestProbes(t *testing.T) {
	l := newLab(t)
	var mutex sync.Mutex
	code := 1
	l.machine.exec = func([]string) (int, error) { mutex.Lock(); defer mutex.Unlock(); return code, nil }
	l.create(l.pod("probed", func(pod *v1.Pod) {
		pod.Spec.Containers[0].ReadinessProbe = &v1.Probe{PeriodSeconds: 1, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"ls"}}}}
	}))
	l.hasEvent("Warning Unhealthy Readiness probe failed: probe says no")
	pod := l.wait("probed", "running and not ready", func(pod *v1.Pod) bool { return pod.Status.Phase == v1.PodRunning })
	if condition := findCondition(&pod.Status, v1.PodReady); condition.Message != "containers with unready status: [main]" || condition.Reason != "ContainersNotReady" {
		t.Errorf("%+v", condition)
	}
	mutex.Lock()
	code = 0
	mutex.Unlock()
	l.wait("probed", "ready", isReady)
}

func TestLivenessRestarts(t *testing.T) {
	l := newLab(t)
	l.machine.exec = func([]string) (int, error) { return 1, nil }
	l.create(l.pod("sick", func(pod *v1.Pod) {
		pod.Spec.Containers[0].LivenessProbe = &v1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{}}}
	}))
	l.hasEvent("Normal Killing Container main failed liveness probe, will be restarted")
	l.wait("sick", "restarted", func(pod *v1.Pod) bool { return restartsOf(pod) >= 1 })
}

func TestUnsupportedNamespacesAreRefused(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("spy", func(pod *v1.Pod) { pod.Spec.HostPID, pod.Spec.HostIPC = true, true }))
	l.hasEvent("Warning FailedCreatePodSandBox Failed to create pod sandbox: kubelite does not have hostPID, hostIPC: remove it from the Pod's spec")
	if sandboxes, err := l.machine.Sandboxes(t.Context()); err != nil || len(sandboxes) > 0 {
		t.Errorf("%v %v", sandboxes, err)
	}
}

// A Pod's labels may be in its volumes: these follow them.
func TestLabelsChange(t *testing.T) {
	l := newLab(t)
	l.create(l.pod("labelled"))
	pod := l.wait("labelled", "ready", isReady)
	before := l.volumes.setUps("labelled")
	pod.Labels = map[string]string{"tier": "web"}
	if _, err := l.client.CoreV1().Pods("default").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.eventually("volumes follow", func() bool { return l.volumes.setUps("labelled") > before })
}

func TestHooks(t *testing.T) {
	l := newLab(t)
	var mutex sync.Mutex
	var ran []string
	l.machine.exec = func(command []string) (int, error) {
		mutex.Lock()
		defer mutex.Unlock()
		ran = append(ran, command[0])
		return 0, nil
	}
	l.create(l.pod("hooks", func(pod *v1.Pod) {
		pod.Spec.Containers[0].Lifecycle = &v1.Lifecycle{
			PostStart: &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"after"}}},
			PreStop:   &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"before"}}},
		}
	}))
	pod := l.wait("hooks", "ready", isReady)
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.Now()), ptr.To[int64](30)
	if _, err := l.client.CoreV1().Pods("default").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.eventually("nothing left", func() bool { return len(l.machine.list()) == 0 })
	mutex.Lock()
	defer mutex.Unlock()
	if !slices.Equal(ran, []string{"after", "before"}) {
		t.Errorf("hooks %v", ran)
	}
}

func TestRunErrorAndDeadline(t *testing.T) {
	l := newLab(t)
	l.machine.startError = errors.New("exec: \"/app\": no such file")
	l.create(l.pod("broken"))
	l.wait("broken", "RunContainerError", waitsFor(reasonRunError))
	l.machine.mutex.Lock()
	l.machine.startError = nil
	l.machine.mutex.Unlock()
	l.create(l.pod("late", func(pod *v1.Pod) { pod.Spec.ActiveDeadlineSeconds = ptr.To[int64](1) }))
	pod := l.wait("late", "failed", func(pod *v1.Pod) bool { return pod.Status.Phase == v1.PodFailed })
	if pod.Status.Reason != "DeadlineExceeded" || pod.Status.Message != "Pod was active on the node longer than the specified deadline" {
		t.Errorf("%+v", pod.Status)
	}
}
