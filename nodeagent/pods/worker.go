package pods

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/nodeagent/environment"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// worker runs one Pod. Fields above the mutex belong to its goroutine, those below are shared with whoever wakes it.
type worker struct {
	loop            *Loop
	uid             types.UID
	namespace, name string
	log             *slog.Logger

	ctx          context.Context
	sandbox      *runtime.Sandbox
	containers   []runtime.Container
	lost         map[string]bool
	messages     map[string]string
	waiting      map[string]waitReason
	crashes      map[string]*crashBackOff // by container name
	images       map[string]*imageState   // by image name
	volumesReady bool
	retries      retry // of sandbox, volumes, clean-up and deletion
	refresh      time.Time
	ending       bool
	ended        bool // the sandbox and volumes of an ended Pod have been removed
	deleted      bool // the API has been told to delete the object
	stops        map[string]*stop
	standIns     map[string]bool // images whose StandIn event has been sent
	status       *statusWriter

	mutex       sync.Mutex
	wake        chan struct{} // of one place: a wake-up is never lost and never waits
	pod         *v1.Pod
	isGone      bool
	exited      bool // containers have to be listed again
	changed     bool // objects have changed: volumes have to be brought up to date
	probeStates map[string]*probeState
	hooks       map[string]bool // postStart hooks that run
	seen        *observed       // as of the last look; read only
}

func newWorker(loop *Loop, pod *v1.Pod) *worker {
	w := &worker{
		loop: loop, uid: pod.UID, namespace: pod.Namespace, name: pod.Name,
		log:  slog.With("pod", pod.Namespace+"/"+pod.Name),
		lost: map[string]bool{}, messages: map[string]string{}, waiting: map[string]waitReason{}, crashes: map[string]*crashBackOff{},
		images: map[string]*imageState{}, stops: map[string]*stop{}, standIns: map[string]bool{},
		wake: make(chan struct{}, 1), pod: pod, exited: true,
		probeStates: map[string]*probeState{}, hooks: map[string]bool{},
	}
	w.status = newStatusWriter(w)
	w.nudge()
	return w
}

func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) set(change func()) {
	w.mutex.Lock()
	change()
	w.mutex.Unlock()
	w.nudge()
}

// setPod takes the Pod's newest version. Its labels and annotations may be in downward API volumes.
func (w *worker) setPod(pod *v1.Pod) {
	w.set(func() {
		if !maps.Equal(w.pod.Labels, pod.Labels) || !maps.Equal(w.pod.Annotations, pod.Annotations) {
			w.changed = true
		}
		w.pod = pod
	})
}

func (w *worker) setGone(pod *v1.Pod) { w.set(func() { w.pod, w.isGone = pod, true }) }
func (w *worker) containerExited()    { w.set(func() { w.exited = true }) }
func (w *worker) objectChanged()      { w.set(func() { w.changed = true }) }

// run is the worker's goroutine. It ends when ctx is done, or when its Pod is gone and nothing is left of it.
func (w *worker) run(ctx context.Context) {
	w.ctx = ctx
	defer w.stopProbes()
	w.restoreFromStatus()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, over := w.sync(ctx)
		if over {
			return
		}
		var due <-chan time.Time
		if !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-due:
		}
	}
}

// sync brings the Pod to where it should be, as far as it can without waiting. next is when to look again if nothing happens before.
func (w *worker) sync(ctx context.Context) (next time.Time, over bool) {
	const steps = 1000 // far more than any Pod takes: a guard against spinning
	for range steps {
		pod, o := w.observe(ctx)
		if pod == nil || ctx.Err() != nil {
			return w.retries.at, false
		}
		end := computeOutcome(pod, o)
		w.publish(pod, o, end)
		if ending := end != nil || isEnding(pod, o); ending != w.ending {
			w.ending = ending
			w.retries.reset() // what failed while it was being started has no say in its end
		}
		todo := computeActions(pod, o, end != nil)
		if todo.finished {
			if over, waiting := w.finish(ctx, pod, end); over || waiting {
				return w.retries.at, over
			}
			continue
		}
		if !w.do(ctx, pod, o, todo) {
			return w.nextLook(todo), false
		}
	}
	w.log.Error("pod does not settle")
	return w.loop.Now().Add(time.Second), false
}

// observe gathers what is known of the Pod. pod is nil if that cannot be found out now.
func (w *worker) observe(ctx context.Context) (*v1.Pod, *observed) {
	w.mutex.Lock()
	exited := w.exited
	w.exited = false
	w.mutex.Unlock()
	if exited {
		if err := w.list(ctx); err != nil {
			w.retryLater("list containers", err)
			w.mutex.Lock()
			w.exited = true
			w.mutex.Unlock()
			return nil, nil
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.changed {
		w.changed, w.volumesReady = false, false
		w.retries.reset()
		for name, wait := range w.waiting {
			if wait.reason == reasonConfigError {
				delete(w.waiting, name)
			}
		}
	}
	pod := w.pod
	if known := w.status.latest(pod); known != nil {
		pod = pod.DeepCopy()
		pod.Status = *known
	}
	o := &observed{
		now: w.loop.Now(), gone: w.isGone, sandbox: w.sandbox, containers: slices.Clone(w.containers), lost: maps.Clone(w.lost),
		messages: maps.Clone(w.messages), stopping: map[string]bool{}, hooks: maps.Clone(w.hooks), probes: map[string]probeResults{},
		waiting: maps.Clone(w.waiting),
	}
	for id := range w.stops {
		o.stopping[id] = true
	}
	for id, state := range w.probeStates {
		o.probes[id] = state.results
	}
	w.seen = o
	return pod, o
}

// do carries out what computeActions asks for. It says whether anything has changed, so that the worker looks again at once.
func (w *worker) do(ctx context.Context, pod *v1.Pod, o *observed, todo actions) bool {
	progress := false
	for _, id := range todo.remove {
		if err := w.loop.Runtime.RemoveContainer(ctx, id); err != nil {
			w.log.Error("remove container", "id", id, "error", err)
			continue
		}
		w.forget(id)
		progress = true
	}
	for _, kill := range todo.kill {
		w.beginStop(pod, kill)
		progress = true
	}
	w.driveStops(ctx, pod)
	switch {
	case todo.stopSandbox:
		progress = w.removeSandbox(ctx) || progress
	case todo.startSandbox:
		progress = w.startSandbox(ctx, pod) || progress
	case len(todo.start) > 0 || !w.volumesReady || w.refreshDue():
		if !isEnding(pod, o) && w.sandbox != nil {
			if !w.setUpVolumes(ctx, pod) {
				return progress
			}
			for _, name := range todo.start {
				progress = w.startContainer(ctx, pod, findContainer(pod, name)) || progress
			}
		}
	}
	return progress
}

func isEnding(pod *v1.Pod, o *observed) bool {
	return o.gone || pod.DeletionTimestamp != nil || isTerminal(pod.Status.Phase)
}

func (w *worker) refreshDue() bool { return !w.refresh.IsZero() && !w.loop.Now().Before(w.refresh) }

// nextLook is the earliest time at which something is due.
func (w *worker) nextLook(todo actions) time.Time {
	next := todo.deadline
	earlier := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if !next.IsZero() && !next.After(w.loop.Now()) {
		next = time.Time{}
	}
	for _, wait := range w.waiting {
		earlier(wait.until)
	}
	for _, stop := range w.stops {
		earlier(stop.deadline)
	}
	earlier(w.retries.at)
	earlier(w.refresh)
	return next
}

// startSandbox makes the namespaces and, at the same time, the volumes.
func (w *worker) startSandbox(ctx context.Context, pod *v1.Pod) bool {
	if w.retries.waits(w.loop.Now()) {
		return false
	}
	w.loop.Objects.Register(pod)
	if len(w.containers) > 0 {
		w.event(pod, "", v1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	}
	volumes := make(chan bool, 1)
	go func() { volumes <- w.setUpVolumes(ctx, pod) }()
	nodename, err := w.loop.DNS.nodename(pod, w.loop.NodeName)
	if err == nil {
		err = unsupported(pod)
	}
	var sandbox runtime.Sandbox
	if err == nil {
		sandbox, err = w.loop.Runtime.StartSandbox(ctx, sandboxConfig(pod, nodename))
	}
	<-volumes
	if err != nil {
		if ctx.Err() == nil {
			w.event(pod, "", v1.EventTypeWarning, "FailedCreatePodSandBox", fmt.Sprintf("Failed to create pod sandbox: %v", err))
			w.retryLater("start sandbox", err)
		}
		return false
	}
	w.sandbox = &sandbox
	return true
}

// setUpVolumes makes the Pod's volumes or brings them up to date. A Pod whose containers run is not disturbed by an error.
func (w *worker) setUpVolumes(ctx context.Context, pod *v1.Pod) bool {
	if w.volumesReady && !w.refreshDue() {
		return true
	}
	if w.retries.waits(w.loop.Now()) {
		return w.volumesReady
	}
	w.loop.Objects.Register(pod)
	refresh, err := w.loop.Volumes.SetUp(ctx, pod, w.facts())
	if err != nil {
		if ctx.Err() == nil {
			w.event(pod, "", v1.EventTypeWarning, "FailedMount", err.Error())
			w.retryLater("set up volumes", err)
		}
		return false
	}
	w.volumesReady, w.refresh = true, refresh
	w.retries.reset()
	return true
}

// removeSandbox takes the namespaces and volumes of an ended Pod away.
func (w *worker) removeSandbox(ctx context.Context) bool {
	if w.retries.waits(w.loop.Now()) {
		return false
	}
	if err := w.loop.Runtime.StopSandbox(ctx, string(w.uid)); err != nil {
		w.retryLater("stop sandbox", err)
		return false
	}
	w.sandbox, w.ended = nil, false
	return true
}

func (w *worker) facts() environment.Facts {
	return environment.Facts{HostIPs: w.loop.NodeIPs, PodIPs: w.podIPs(), NodeName: w.loop.NodeName, Allocatable: w.loop.Allocatable}
}

func (w *worker) retryLater(action string, err error) {
	if w.ctx.Err() != nil {
		return
	}
	w.retries.failed(w.loop.Now(), err)
	w.log.Error(action, "error", err, "again", w.retries.at.Sub(w.loop.Now()).Round(time.Millisecond))
}

// event sends one about the Pod, or about one of its containers.
func (w *worker) event(pod *v1.Pod, container, kind, reason, message string) {
	reference := &v1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}
	if container != "" {
		field := "containers"
		for i := range pod.Spec.InitContainers {
			if pod.Spec.InitContainers[i].Name == container {
				field = "initContainers"
			}
		}
		reference.FieldPath = "spec." + field + "{" + container + "}"
	}
	w.loop.Recorder.Event(reference, kind, reason, message)
}
