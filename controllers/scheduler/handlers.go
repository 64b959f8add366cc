package scheduler

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// wantsNode says whether a Pod waits for this scheduler.
func wantsNode(pod *corev1.Pod) bool {
	return pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil && !finished(pod) && len(pod.Spec.SchedulingGates) == 0 &&
		(pod.Spec.SchedulerName == "" || pod.Spec.SchedulerName == corev1.DefaultSchedulerName)
}

// finished Pods hold no resources any more.
func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (c *Controller) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.podChanged(nil, obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) { c.podChanged(old.(*corev1.Pod), obj.(*corev1.Pod)) },
		DeleteFunc: func(obj any) {
			if pod, ok := reconcile.Deleted[*corev1.Pod](obj); ok {
				c.podDeleted(pod)
			}
		},
	}
}

func (c *Controller) podChanged(old, pod *corev1.Pod) {
	if old != nil && old.UID != pod.UID {
		c.podDeleted(old)
	}
	if wantsNode(pod) {
		if old == nil || old.UID != pod.UID || schedulingChanged(old, pod) {
			c.queue.Add(reconcile.ObjectKey(pod))
		}
		return
	}
	c.mu.Lock()
	delete(c.waiting, reconcile.ObjectKey(pod))
	var woken []string
	switch {
	case pod.Spec.NodeName == "":
	case finished(pod):
		if _, known := c.cluster.byUID[pod.UID]; known {
			c.cluster.removePod(pod.UID)
			woken = c.takeWaiting()
		}
	default:
		entry, known := c.cluster.byUID[pod.UID]
		moved := !known || entry.nodeName != pod.Spec.NodeName
		relabelled := known && !maps.Equal(entry.pod.Labels, pod.Labels)
		c.cluster.setPod(pod, pod.Spec.NodeName, false)
		// A new neighbour helps only who wants its company (Pod affinity).
		if moved || relabelled {
			woken = c.takeWaiting()
		}
	}
	c.mu.Unlock()
	c.addAll(woken)
}

// schedulingChanged says whether an unbound Pod changed in what its placement depends on.
func schedulingChanged(old, pod *corev1.Pod) bool {
	return !maps.Equal(old.Labels, pod.Labels) || !apiequality.Semantic.DeepEqual(old.Spec, pod.Spec)
}

func (c *Controller) podDeleted(pod *corev1.Pod) {
	c.mu.Lock()
	delete(c.waiting, reconcile.ObjectKey(pod))
	var woken []string
	if _, known := c.cluster.byUID[pod.UID]; known {
		c.cluster.removePod(pod.UID)
		woken = c.takeWaiting()
	}
	c.mu.Unlock()
	c.addAll(woken)
}

func (c *Controller) nodeHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.nodeChanged(nil, obj.(*corev1.Node)) },
		UpdateFunc: func(old, obj any) { c.nodeChanged(old.(*corev1.Node), obj.(*corev1.Node)) },
		DeleteFunc: func(obj any) {
			if node, ok := reconcile.Deleted[*corev1.Node](obj); ok {
				c.nodeDeleted(node)
			}
		},
	}
}

func (c *Controller) nodeChanged(old, node *corev1.Node) {
	c.mu.Lock()
	c.cluster.setNode(node)
	var woken []string
	if old == nil || placementChanged(old, node) {
		woken = c.takeWaiting()
	}
	c.mu.Unlock()
	c.addAll(woken)
}

func (c *Controller) nodeDeleted(node *corev1.Node) {
	c.mu.Lock()
	c.cluster.removeNode(node.Name)
	woken := c.takeWaiting() // their message counts nodes
	c.mu.Unlock()
	c.addAll(woken)
}

// placementChanged says whether a Node changed in what filters look at. Heartbeats do not.
func placementChanged(old, node *corev1.Node) bool {
	return old.Spec.Unschedulable != node.Spec.Unschedulable || !maps.Equal(old.Labels, node.Labels) ||
		!apiequality.Semantic.DeepEqual(old.Spec.Taints, node.Spec.Taints) ||
		!apiequality.Semantic.DeepEqual(old.Status.Allocatable, node.Status.Allocatable)
}

// takeWaiting returns the keys of all Pods that wait, which then wait no longer. The lock is held.
func (c *Controller) takeWaiting() []string {
	keys := slices.Sorted(maps.Keys(c.waiting))
	clear(c.waiting)
	return keys
}

func (c *Controller) addAll(keys []string) {
	for _, key := range keys {
		c.queue.Add(key)
	}
}
