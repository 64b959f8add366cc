package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// writers write bindings; decisions are taken by one worker, in the order of the Pods' arrival.
const writers = 8

// Controller is the scheduler named "default-scheduler".
type Controller struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	pods     corelisters.PodLister
	services corelisters.ServiceLister
	synced   []cache.DoneChecker
	queue    *reconcile.Queue[string] // Pods that want a node
	writing  *reconcile.Queue[string] // Pods whose decision is to be written

	mu      sync.Mutex
	cluster *cluster
	waiting map[string]struct{} // keys of Pods that fit nowhere
	unsaid  map[string]decision // by Pod key: decisions that no writer has taken up yet
}

// decision is a node for a Pod, or why there is none.
type decision struct {
	pod           *corev1.Pod
	node, failure string
}

// New makes the scheduler over the factory's Pods, Nodes and Services; recorder's source is "default-scheduler".
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*Controller, error) {
	pods, nodes, services := factory.Core().V1().Pods(), factory.Core().V1().Nodes(), factory.Core().V1().Services()
	c := &Controller{
		client:   client,
		recorder: recorder,
		pods:     pods.Lister(),
		services: services.Lister(),
		cluster:  newCluster(),
		waiting:  map[string]struct{}{},
		unsaid:   map[string]decision{},
	}
	c.queue = reconcile.NewQueue("scheduler", c.schedule)
	c.writing = reconcile.NewQueue("binder", c.write)
	handledNodes, err := nodes.Informer().AddEventHandler(c.nodeHandler())
	if err != nil {
		return nil, fmt.Errorf("watch Nodes: %w", err)
	}
	handledPods, err := pods.Informer().AddEventHandler(c.podHandler())
	if err != nil {
		return nil, fmt.Errorf("watch Pods to schedule: %w", err)
	}
	c.synced = []cache.DoneChecker{handledNodes.HasSyncedChecker(), handledPods.HasSyncedChecker(), services.Informer().HasSyncedChecker()}
	return c, nil
}

// Run schedules until ctx is done. It waits for its caches, which the caller starts.
func (c *Controller) Run(ctx context.Context) {
	if !cache.WaitFor(ctx, "", c.synced...) {
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.writing.Run(ctx, writers) })
	c.queue.Run(ctx, 1)
}

// schedule finds a node for one Pod. It only decides: it waits for nothing.
func (c *Controller) schedule(_ context.Context, key string) error {
	decided, err := c.decide(key)
	if err != nil || decided == nil {
		return err
	}
	c.mu.Lock()
	c.unsaid[key] = *decided
	c.mu.Unlock()
	c.writing.Add(key)
	return nil
}

// write tells the API server what was decided. After a failed binding it decides again: the assumption was taken back.
func (c *Controller) write(ctx context.Context, key string) error {
	c.mu.Lock()
	decided, waiting := c.unsaid[key]
	delete(c.unsaid, key)
	c.mu.Unlock()
	if !waiting {
		again, err := c.decide(key)
		if err != nil || again == nil {
			return err
		}
		decided = *again
	}
	if decided.failure != "" {
		return c.reportUnschedulable(ctx, decided.pod, decided.failure)
	}
	return c.bind(ctx, decided.pod, decided.node)
}

// pending returns the Pod if it still wants a node of this scheduler, nil otherwise.
func (c *Controller) pending(key string) (*corev1.Pod, error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil, fmt.Errorf("schedule Pod %q: %w", key, err)
	}
	pod, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("schedule Pod %s: %w", key, err)
	}
	if !wantsNode(pod) {
		return nil, nil
	}
	return pod, nil
}

func (c *Controller) servicesOf(pod *corev1.Pod) ([]*corev1.Service, error) {
	all, err := c.services.Services(pod.Namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list Services of namespace %s: %w", pod.Namespace, err)
	}
	var selecting []*corev1.Service
	for _, service := range all {
		if len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			selecting = append(selecting, service)
		}
	}
	return selecting, nil
}

// decide picks a node and assumes the Pod there, or notes that it waits. It returns nil if the Pod wants no node (any more)
// or is assumed already.
func (c *Controller) decide(key string) (*decision, error) {
	pod, err := c.pending(key)
	if pod == nil || err != nil {
		return nil, err
	}
	services, err := c.servicesOf(pod)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.cluster.byUID[pod.UID]; known {
		return nil, nil
	}
	node, failure := place(pod, services, c.cluster.list())
	if failure != "" {
		// Under the same lock as the picture: a change that comes after the decision finds the Pod waiting.
		c.waiting[key] = struct{}{}
	} else {
		c.cluster.setPod(pod, node, true)
	}
	return &decision{pod: pod, node: node, failure: failure}, nil
}

func (c *Controller) bind(ctx context.Context, pod *corev1.Pod, node string) error {
	err := c.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
	if err == nil {
		c.recorder.Eventf(pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node)
		return nil
	}
	c.forget(pod.UID)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("bind Pod %s/%s to node %s: %w", pod.Namespace, pod.Name, node, err)
}

// forget takes an assumption back; what the cache has shown meanwhile stays.
func (c *Controller) forget(uid types.UID) {
	c.mu.Lock()
	if entry, known := c.cluster.byUID[uid]; known && entry.assumed {
		c.cluster.removePod(uid)
	}
	keys := c.takeWaiting()
	c.mu.Unlock()
	c.addAll(keys)
}

// reportUnschedulable says in the Pod's conditions and in an Event why it has no node.
func (c *Controller) reportUnschedulable(ctx context.Context, pod *corev1.Pod, message string) error {
	c.recorder.Event(pod, corev1.EventTypeWarning, "FailedScheduling", message)
	for i := range pod.Status.Conditions {
		condition := &pod.Status.Conditions[i]
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse &&
			condition.Reason == corev1.PodReasonUnschedulable && condition.Message == message {
			return nil
		}
	}
	patch, err := unschedulablePatch(pod, message, metav1.Now())
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write condition PodScheduled of Pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// unschedulablePatch sets the condition PodScheduled. The time of its last transition stays while it was False before.
func unschedulablePatch(pod *corev1.Pod, message string, now metav1.Time) ([]byte, error) {
	condition := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, ObservedGeneration: pod.Generation,
		Reason: corev1.PodReasonUnschedulable, Message: message, LastTransitionTime: now,
	}
	for _, before := range pod.Status.Conditions {
		if before.Type == condition.Type && before.Status == condition.Status {
			condition.LastTransitionTime = before.LastTransitionTime
		}
	}
	// Not marshalled from PodStatus: its zero times would be written as null.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []map[string]any{conditionFields(condition)}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode condition PodScheduled: %w", err)
	}
	return patch, nil
}

func conditionFields(condition corev1.PodCondition) map[string]any {
	fields := map[string]any{
		"type": condition.Type, "status": condition.Status, "reason": condition.Reason,
		"message": condition.Message, "lastTransitionTime": condition.LastTransitionTime,
	}
	if condition.ObservedGeneration != 0 {
		fields["observedGeneration"] = condition.ObservedGeneration
	}
	return fields
}
