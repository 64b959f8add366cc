package podgc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// thresholdKey is the queue's key for counting finished Pods; no Pod is called so.
const thresholdKey = ""

// Settings are Kubernetes' defaults where they are zero.
type Settings struct {
	// Quarantine is how long a Node must be missing before its Pods are deleted: 40 seconds.
	Quarantine time.Duration
	// TerminatedThreshold is how many finished Pods are kept: 12500.
	TerminatedThreshold int
}

// Controller collects Pods that nobody else deletes.
type Controller struct {
	client   kubernetes.Interface
	settings Settings
	clock    clock.PassiveClock
	pods     corelisters.PodLister
	nodes    corelisters.NodeLister
	synced   []cache.DoneChecker
	queue    *reconcile.Queue[string]

	mu      sync.Mutex
	missing map[string]time.Time // by Node name: since when it is
}

// New makes the controller over the factory's Pods and Nodes. It does nothing before Run.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, settings Settings) (*Controller, error) {
	if settings.Quarantine == 0 {
		settings.Quarantine = 40 * time.Second
	}
	if settings.TerminatedThreshold == 0 {
		settings.TerminatedThreshold = 12500
	}
	pods, nodes := factory.Core().V1().Pods(), factory.Core().V1().Nodes()
	c := &Controller{
		client: client, settings: settings, clock: clock.RealClock{},
		pods: pods.Lister(), nodes: nodes.Lister(), missing: map[string]time.Time{},
	}
	c.queue = reconcile.NewQueue("podgc", c.sync)
	handledPods, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { c.podChanged(nil, obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) {
			c.podChanged(old.(*corev1.Pod), obj.(*corev1.Pod))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch Pods to collect: %w", err)
	}
	handledNodes, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { c.nodeAdded(obj.(*corev1.Node).Name) },
		DeleteFunc: func(obj any) {
			if node, ok := reconcile.Deleted[*corev1.Node](obj); ok {
				c.nodeDeleted(node.Name)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch Nodes whose Pods are collected: %w", err)
	}
	c.synced = []cache.DoneChecker{handledPods.HasSyncedChecker(), handledNodes.HasSyncedChecker()}
	return c, nil
}

// Run collects until ctx is done. It waits for its caches, which the caller starts.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, 2)
	}
}

func (c *Controller) podChanged(old, pod *corev1.Pod) {
	fresh := old == nil || old.UID != pod.UID
	if finished(pod) && (fresh || !finished(old)) {
		c.queue.Add(thresholdKey)
	}
	if fresh || old.Spec.NodeName != pod.Spec.NodeName || (old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) {
		c.queue.Add(reconcile.ObjectKey(pod))
	}
}

func (c *Controller) nodeAdded(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.missing, name)
}

func (c *Controller) nodeDeleted(name string) {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		slog.Error("list Pods of a deleted Node", "error", err)
	}
	for _, pod := range pods {
		if pod.Spec.NodeName == name {
			c.queue.Add(reconcile.ObjectKey(pod))
		}
	}
}

func (c *Controller) sync(ctx context.Context, key string) error {
	if key == thresholdKey {
		return c.collectSurplus(ctx)
	}
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("collect Pod %q: %w", key, err)
	}
	pod, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("collect Pod %s: %w", key, err)
	}
	_, err = c.nodes.Get(pod.Spec.NodeName)
	switch judge(pod, err == nil) {
	case unwatched:
		return c.remove(ctx, pod)
	case orphaned:
		return c.collectOrphan(ctx, key, pod)
	}
	return nil
}

// collectOrphan deletes a Pod whose Node has been missing for long enough.
func (c *Controller) collectOrphan(ctx context.Context, key string, pod *corev1.Pod) error {
	if wait := c.quarantine(pod.Spec.NodeName); wait > 0 {
		c.queue.AddAfter(key, wait)
		return nil
	}
	_, err := c.client.CoreV1().Nodes().Get(ctx, pod.Spec.NodeName, metav1.GetOptions{})
	if err == nil {
		return nil // the cache will show it
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("ask for node %s of Pod %s: %w", pod.Spec.NodeName, key, err)
	}
	slog.Info("delete a Pod by force: its node no longer exists", "pod", key, "node", pod.Spec.NodeName)
	if err := c.markFailed(ctx, pod); err != nil {
		return err
	}
	return c.remove(ctx, pod)
}

// quarantine returns how long a missing Node is still given to come back.
func (c *Controller) quarantine(node string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, known := c.missing[node]
	if !known {
		since = c.clock.Now()
		c.missing[node] = since
	}
	return c.settings.Quarantine - c.clock.Since(since)
}

// markFailed says in a Pod's status why it goes, for whoever counts failures.
func (c *Controller) markFailed(ctx context.Context, pod *corev1.Pod) error {
	if finished(pod) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status": map[string]any{
			"phase": corev1.PodFailed,
			"conditions": []map[string]any{{
				"type": corev1.DisruptionTarget, "status": corev1.ConditionTrue, "reason": "DeletionByPodGC",
				"message": "PodGC: node no longer exists", "lastTransitionTime": metav1.NewTime(c.clock.Now()),
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("encode status of an orphaned Pod: %w", err)
	}
	_, err = c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("mark orphaned Pod %s/%s failed: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// remove deletes a Pod without waiting for an agent.
func (c *Controller) remove(ctx context.Context, pod *corev1.Pod) error {
	err := c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Pod %s/%s by force: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (c *Controller) collectSurplus(ctx context.Context) error {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list finished Pods: %w", err)
	}
	var failures []error
	for _, pod := range surplus(pods, c.settings.TerminatedThreshold) {
		failures = append(failures, c.remove(ctx, pod))
	}
	return errors.Join(failures...)
}
