package scheduler

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
)

// harness is the scheduler over client-go's fake API server, which binds as the real one does.
type harness struct {
	*testing.T
	api    *fake.Clientset
	events *record.FakeRecorder

	mu    sync.Mutex
	fails int // how many bindings are refused from now on
}

func start(t *testing.T, objects ...runtime.Object) *harness {
	h := &harness{T: t, api: fake.NewClientset(objects...), events: record.NewFakeRecorder(1000)}
	h.api.PrependReactor("create", "pods", h.bind)
	factory := informers.NewSharedInformerFactory(h.api, 0)
	c, err := New(h.api, factory, h.events)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	factory.Start(ctx.Done())
	t.Cleanup(func() { cancel(); <-done; factory.Shutdown() })
	// The fake misses what is created between an informer's list and its watch.
	factory.WaitForCacheSync(ctx.Done())
	return h
}

func (h *harness) bind(action clienttesting.Action) (bool, runtime.Object, error) {
	create := action.(clienttesting.CreateAction)
	binding, ok := create.GetObject().(*corev1.Binding)
	if !ok {
		return false, nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails > 0 {
		h.fails--
		return true, nil, apierrors.NewInternalError(fmt.Errorf("no"))
	}
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	obj, err := h.api.Tracker().Get(pods, binding.Namespace, binding.Name)
	if err != nil {
		return true, nil, err
	}
	pod := obj.(*corev1.Pod).DeepCopy()
	pod.Spec.NodeName = binding.Target.Name
	return true, nil, h.api.Tracker().Update(pods, pod, pod.Namespace)
}

func (h *harness) create(pods ...*corev1.Pod) {
	h.Helper()
	for _, pod := range pods {
		if _, err := h.api.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
			h.Fatal(err)
		}
	}
}

// event waits for an Event with the prefix; the deadline only ends a test that hangs.
func (h *harness) event(prefix string) string {
	h.Helper()
	for {
		select {
		case event := <-h.events.Events:
			if strings.HasPrefix(event, prefix) {
				return event
			}
		case <-time.After(20 * time.Second):
			h.Fatalf("no event %q", prefix)
		}
	}
}

func (h *harness) nodeOf(name string) string {
	h.Helper()
	pod, err := h.api.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		h.Fatal(err)
	}
	return pod.Spec.NodeName
}

func TestBindsAndReports(t *testing.T) {
	h := start(t, testNode("node-1"), testNode("node-2"))
	h.create(testPod("a"))
	if event := h.event("Normal Scheduled"); event != "Normal Scheduled Successfully assigned default/a to node-1" {
		t.Error(event)
	}
	if node := h.nodeOf("a"); node != "node-1" {
		t.Errorf("a is on %q", node)
	}
}

func TestPodsCreatedTogetherDoNotOvercommit(t *testing.T) {
	h := start(t, testNode("node-1"), testNode("node-2"))
	for i := range 5 {
		h.create(testPod(fmt.Sprintf("p%d", i), cpu("1")))
	}
	// Events may overtake each other.
	seen := map[string]int{}
	for seen["Normal Scheduled"] < 4 || seen["Warning FailedScheduling"] < 1 {
		words := strings.Fields(h.event(""))
		seen[strings.Join(words[:2], " ")]++
	}
	counts := map[string]int{}
	for i := range 5 {
		counts[h.nodeOf(fmt.Sprintf("p%d", i))]++
	}
	if fmt.Sprint(counts) != "map[:1 node-1:2 node-2:2]" {
		t.Errorf("placed as %v", counts)
	}
}

func TestWaitsUntilSomethingHelps(t *testing.T) {
	h := start(t, testNode("node-1", cordoned))
	h.create(testPod("a"), testPod("other", func(pod *corev1.Pod) { pod.Spec.SchedulerName = "mine" }))
	h.event("Warning FailedScheduling 0/1 nodes are available: 1 node(s) were unschedulable.")
	if _, err := h.api.CoreV1().Nodes().Create(context.Background(), testNode("node-2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := h.event("Normal Scheduled"); event != "Normal Scheduled Successfully assigned default/a to node-2" {
		t.Error(event)
	}
	if node := h.nodeOf("other"); node != "" {
		t.Errorf("a Pod of another scheduler was put on %s", node)
	}
}

func TestRoomThatIsFreedIsUsed(t *testing.T) {
	h := start(t, testNode("node-1"))
	h.create(testPod("a", cpu("2")))
	h.event("Normal Scheduled")
	h.create(testPod("b", cpu("2")))
	h.event("Warning FailedScheduling")
	if err := h.api.CoreV1().Pods("default").Delete(context.Background(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.event("Normal Scheduled Successfully assigned default/b to node-1")
}

func TestRefusedBindingIsTriedAgain(t *testing.T) {
	h := start(t, testNode("node-1"))
	h.mu.Lock()
	h.fails = 2
	h.mu.Unlock()
	h.create(testPod("a", cpu("2")))
	h.event("Normal Scheduled Successfully assigned default/a to node-1")
}

func TestUnschedulablePatch(t *testing.T) {
	pod := testPod("a")
	since := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: since}}
	patch, err := unschedulablePatch(pod, "why", metav1.NewTime(since.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"uid":"a"},"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"why","reason":"Unschedulable","status":"False","type":"PodScheduled"}]}}`
	if string(patch) != want {
		t.Errorf("got  %s\nwant %s", patch, want)
	}
}
