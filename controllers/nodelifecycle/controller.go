package nodelifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	coordinationinformers "k8s.io/client-go/informers/coordination/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

const (
	workers   = 4
	nodeIndex = "node"
)

// DefaultGracePeriod is how long Kubernetes lets a Node be silent: five missed renewals of ten seconds, and then some.
const DefaultGracePeriod = 40 * time.Second

// Controller watches over the Nodes' signs of life.
type Controller struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	grace    time.Duration
	clock    clock.PassiveClock
	nodes    corelisters.NodeLister
	pods     corelisters.PodLister
	podIndex cache.Indexer
	leases   cache.SharedIndexInformer
	synced   []cache.DoneChecker
	watch    *reconcile.Queue[string] // of Node names
	evict    *reconcile.Queue[string] // of Pod keys

	mu      sync.Mutex
	heard   map[string]heard                      // by Node name
	undated map[string]map[corev1.Taint]time.Time // by Node name: when taints were first seen that do not say since when they are
}

// New makes the controller over the factory's Nodes and Pods and a watch of its own on the Leases of kube-node-lease;
// recorder's source is "node-controller". A grace period of zero is DefaultGracePeriod.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, grace time.Duration) (*Controller, error) {
	if grace == 0 {
		grace = DefaultGracePeriod
	}
	nodes, pods := factory.Core().V1().Nodes(), factory.Core().V1().Pods()
	if _, present := pods.Informer().GetIndexer().GetIndexers()[nodeIndex]; !present {
		if err := pods.Informer().AddIndexers(cache.Indexers{nodeIndex: nodeOf}); err != nil {
			return nil, fmt.Errorf("index Pods by Node: %w", err)
		}
	}
	c := &Controller{
		client: client, recorder: recorder, grace: grace, clock: clock.RealClock{},
		nodes: nodes.Lister(), pods: pods.Lister(), podIndex: pods.Informer().GetIndexer(),
		leases: coordinationinformers.NewLeaseInformer(client, corev1.NamespaceNodeLease, 0, cache.Indexers{}),
		heard:  map[string]heard{}, undated: map[string]map[corev1.Taint]time.Time{},
	}
	c.watch = reconcile.NewQueue("nodelifecycle", c.syncNode)
	c.evict = reconcile.NewQueue("tainteviction", c.syncPod)
	if err := c.leases.SetTransform(reconcile.StripManagedFields); err != nil {
		return nil, fmt.Errorf("watch Leases: %w", err)
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		nodes.Informer(): c.nodeHandler(),
		pods.Informer():  c.podHandler(),
		c.leases:         c.leaseHandler(),
	} {
		handled, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch signs of life: %w", err)
		}
		c.synced = append(c.synced, handled.HasSyncedChecker())
	}
	return c, nil
}

func nodeOf(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("index %T by Node: not a Pod", obj)
	}
	if pod.Spec.NodeName == "" {
		return nil, nil
	}
	return []string{pod.Spec.NodeName}, nil
}

// Run works until ctx is done. It waits for its caches; all but the Leases' are started by the caller.
func (c *Controller) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.leases.RunWithContext(ctx) })
	if !cache.WaitFor(ctx, "", c.synced...) {
		return
	}
	running.Go(func() { c.evict.Run(ctx, workers) })
	c.watch.Run(ctx, workers)
}

// syncNode brings a Node's conditions and taints, and the readiness of its Pods, in line with whether it is heard of.
func (c *Controller) syncNode(ctx context.Context, name string) error {
	node, err := c.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch over node %s: %w", name, err)
	}
	now := metav1.NewTime(c.clock.Now())
	if left := c.grace - c.silence(name); left > 0 {
		c.watch.AddAfter(name, left)
	} else if unknown := unknownConditions(node, now); len(unknown) > 0 {
		written, err := c.writeConditions(ctx, node, unknown)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		c.recorder.Eventf(node, corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", name)
		node = written
	}
	if taints := wantedTaints(node, now); !apiequality.Semantic.DeepEqual(taints, node.Spec.Taints) {
		if err := c.writeTaints(ctx, node, taints); err != nil {
			return err
		}
	}
	var failures []error
	for _, pod := range c.podsOn(name) {
		if readiness(node) != corev1.ConditionTrue && condition(node, corev1.NodeReady) != nil {
			failures = append(failures, c.markNotReady(ctx, pod))
		}
		if hasNoExecute(node.Spec.Taints) {
			c.evict.Add(reconcile.ObjectKey(pod))
		}
	}
	return errors.Join(failures...)
}

func hasNoExecute(taints []corev1.Taint) bool {
	for _, taint := range taints {
		if taint.Effect == corev1.TaintEffectNoExecute {
			return true
		}
	}
	return false
}

func (c *Controller) podsOn(node string) []*corev1.Pod {
	found, err := c.podIndex.ByIndex(nodeIndex, node)
	if err != nil {
		return nil // the index is there: New added it
	}
	pods := make([]*corev1.Pod, 0, len(found))
	for _, obj := range found {
		pods = append(pods, obj.(*corev1.Pod))
	}
	return pods
}

// syncPod deletes a Pod that may no longer stay on its Node, or comes back when that is so.
func (c *Controller) syncPod(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("evict Pod %q: %w", key, err)
	}
	pod, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && (pod.DeletionTimestamp != nil || pod.Spec.NodeName == "") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("evict Pod %s: %w", key, err)
	}
	node, err := c.nodes.Get(pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("evict Pod %s: %w", key, err)
	}
	now := c.clock.Now()
	allowed := allowedStay(c.dated(node), pod, now)
	switch {
	case allowed.forever:
		return nil
	case allowed.until.After(now):
		c.evict.AddAfter(key, allowed.until.Sub(now))
		return nil
	}
	return c.deletePod(ctx, pod)
}
