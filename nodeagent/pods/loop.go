package pods

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/kubelite/kubelite/internal/mirror"
	"github.com/kubelite/kubelite/nodeagent/environment"
	"github.com/kubelite/kubelite/nodeagent/objects"
	"github.com/kubelite/kubelite/nodeagent/prober"
	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// ErrImageNotFound is returned when an image is not in the node's store.
var ErrImageNotFound = errors.New("image not found")

// Image is what the loop needs to know of one.
type Image struct {
	ID, Reference        string // sha256:… of the config; the name with digest that a container's status shows, empty: the ID
	Size                 int64  // bytes
	Env, Entrypoint, Cmd []string
	WorkingDir, User     string
	StopSignal           string
	LayerDirs            []string // topmost first
	StandIn              string   // what it stands in for; empty if it is the real one
}

// Images finds and pulls images; both may be called concurrently.
type Images interface {
	// Get returns the image of this name from the node's store, or ErrImageNotFound.
	Get(reference string) (*Image, error)
	// Pull fetches it from its registry into the store.
	Pull(ctx context.Context, reference string, secrets []*v1.Secret) (*Image, error)
}

// Volumes makes a Pod's volumes be there. Calls for one Pod are made one at a time.
type Volumes interface {
	// SetUp makes all of the Pod's volumes, or brings their content up to date; refresh says when to call again (zero: never).
	SetUp(ctx context.Context, pod *v1.Pod, facts environment.Facts) (refresh time.Time, err error)
	// Mounts are the container's, after SetUp.
	Mounts(pod *v1.Pod, container *v1.Container, variables []v1.EnvVar) ([]specs.Mount, error)
	// TearDown unmounts and removes all. Missing is no error.
	TearDown(podUID string) error
	// List tells whose volumes there are, as Pod UIDs.
	List() ([]string, error)
}

// Objects gives the ConfigMaps and Secrets that Pods refer to, and watches them for as long as a Pod is registered.
type Objects interface {
	environment.Sources
	Register(pod *v1.Pod)
	Unregister(uid types.UID)
}

// Config is what the loop works with; all fields are needed unless they say otherwise.
type Config struct {
	Client   kubernetes.Interface
	Runtime  runtime.Runtime
	Images   Images
	Volumes  Volumes
	Objects  Objects
	Prober   *prober.Prober
	Recorder record.EventRecorder
	// Services lists all Services, for environment variables.
	Services func() []*v1.Service
	// Allocatable is the node's, for resource fields without a limit.
	Allocatable v1.ResourceList

	NodeName string
	// NodeIPs are the node's addresses, the one of IPv4 first.
	NodeIPs        []string
	PodDir         string // a folder a Pod UID: /etc/hosts, termination messages
	LogDir         string // NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log
	DNS            DNS
	MemoryCapacity int64            // bytes, of the node: for the out-of-memory score
	Now            func() time.Time // nil: time.Now
}

// Loop runs a node's Pods. Its methods may be called concurrently.
type Loop struct {
	Config
	ctx context.Context

	mutex   sync.Mutex
	workers map[types.UID]*worker
	running sync.WaitGroup
}

// New returns a loop that does nothing until Run.
func New(config Config) *Loop {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Loop{Config: config, workers: map[types.UID]*worker{}}
}

// Run adopts what runs on the machine, follows the node's Pods and returns when ctx is done and all workers have stopped. Containers go on
// running.
func (l *Loop) Run(ctx context.Context) error {
	l.ctx = ctx
	var own *mirror.Mirror
	own = mirror.New(l.Client, l.Client.CoreV1().Pods(metav1.NamespaceAll), &v1.Pod{}, mirror.Options{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", l.NodeName).String(),
		Transform:     objects.StripManagedFields,
		Changed:       func(object any) { l.changed(own, object.(*v1.Pod)) },
	})
	l.running.Go(func() { own.Run(ctx) })
	select {
	case <-own.Synced():
	case <-ctx.Done():
		l.running.Wait()
		return nil
	}
	if err := l.adoptOrphans(ctx); err != nil {
		slog.Error("look for what is left of pods that are gone", "error", err)
	}
	exits := l.Runtime.Exits()
	for {
		select {
		case <-ctx.Done():
			l.running.Wait()
			return nil
		case exit, open := <-exits:
			if !open {
				exits = nil // the runtime is being closed; ctx follows
				continue
			}
			if worker := l.worker(types.UID(exit.PodUID)); worker != nil {
				worker.containerExited()
			}
		}
	}
}

func (l *Loop) worker(uid types.UID) *worker {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.workers[uid]
}

// update hands the Pod to its worker, which is started if there is none.
func (l *Loop) update(pod *v1.Pod) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if worker := l.workers[pod.UID]; worker != nil {
		worker.setPod(pod)
		return
	}
	l.start(newWorker(l, pod))
}

// start is called with the mutex held.
func (l *Loop) start(worker *worker) {
	l.workers[worker.uid] = worker
	l.running.Add(1)
	go func() {
		defer l.running.Done()
		worker.run(l.ctx)
		l.mutex.Lock()
		delete(l.workers, worker.uid)
		l.mutex.Unlock()
	}()
}

// changed takes a Pod that came, changed or went: another one of its name may have been made while the watch was away.
func (l *Loop) changed(own *mirror.Mirror, pod *v1.Pod) {
	current, exists, err := own.Objects().Get(pod)
	if err == nil && exists && current.(*v1.Pod).UID == pod.UID {
		l.update(current.(*v1.Pod))
	} else {
		l.gone(pod)
	}
}

func (l *Loop) gone(pod *v1.Pod) {
	if worker := l.worker(pod.UID); worker != nil {
		worker.setGone(pod)
	}
}

// adoptOrphans starts workers for Pods of which something is left on the machine but no API object: they end them.
func (l *Loop) adoptOrphans(ctx context.Context) error {
	orphans := map[types.UID]*v1.Pod{}
	add := func(uid, namespace, name string) *v1.Pod {
		pod := orphans[types.UID(uid)]
		if pod == nil {
			pod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Namespace: namespace, Name: name}}
			orphans[pod.UID] = pod
		}
		return pod
	}
	containers, err := l.Runtime.Containers(ctx)
	if err != nil {
		return err
	}
	for _, container := range containers {
		pod := add(container.PodUID, container.Labels[labelPodNamespace], container.Labels[labelPodName])
		if findContainer(pod, container.Name) == nil {
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: container.Name})
		}
	}
	sandboxes, err := l.Runtime.Sandboxes(ctx)
	if err != nil {
		return err
	}
	for _, sandbox := range sandboxes {
		add(sandbox.PodUID, sandbox.PodNamespace, sandbox.PodName)
	}
	volumes, err := l.Volumes.List()
	if err != nil {
		return err
	}
	for _, uid := range volumes {
		add(uid, "", "")
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for uid, pod := range orphans {
		if l.workers[uid] == nil {
			slog.Info("end what is left of a pod that is gone", "pod", pod.Namespace+"/"+pod.Name, "uid", uid)
			worker := newWorker(l, pod)
			worker.isGone = true
			l.start(worker)
		}
	}
	return nil
}

// ObjectChanged lets the Pods of a namespace look at their ConfigMaps and Secrets again.
func (l *Loop) ObjectChanged(namespace string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, worker := range l.workers {
		if worker.namespace == namespace {
			worker.objectChanged()
		}
	}
}
