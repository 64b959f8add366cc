package nodelifecycle

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// leaseHandler notes renewals and does nothing else: a renewal every ten seconds and Node costs a map write.
func (c *Controller) leaseHandler() cache.ResourceEventHandler {
	renewed := func(obj any) {
		if lease, ok := obj.(*coordinationv1.Lease); ok && lease.Spec.RenewTime != nil {
			c.noteRenewal(lease.Name, lease.Spec.RenewTime.Time)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: renewed, UpdateFunc: func(_, obj any) { renewed(obj) }}
}

func (c *Controller) noteRenewal(node string, renewed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.heard[node]; !renewed.Equal(known.renewed) {
		known.renewed, known.at = renewed, c.clock.Now()
		c.heard[node] = known
	}
}

// noteHeartbeat notes a sign of life in a Node itself. What this controller wrote (Unknown) is none.
func (c *Controller) noteHeartbeat(node *corev1.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, met := c.heard[node.Name]
	if !met || known.at.IsZero() {
		known.at = c.clock.Now()
	}
	if ready := condition(node, corev1.NodeReady); ready != nil && ready.Status != corev1.ConditionUnknown &&
		!ready.LastHeartbeatTime.Time.Equal(known.heartbeat) {
		known.heartbeat, known.at = ready.LastHeartbeatTime.Time, c.clock.Now()
	}
	c.heard[node.Name] = known
}

// noteTaints remembers since when a Node has the NoExecute taints that do not say it, as those of `kubectl taint`.
func (c *Controller) noteTaints(node *corev1.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	undated := map[corev1.Taint]time.Time{}
	for _, taint := range node.Spec.Taints {
		if taint.Effect != corev1.TaintEffectNoExecute || taint.TimeAdded != nil {
			continue
		}
		since, known := c.undated[node.Name][taint]
		if !known {
			since = c.clock.Now()
		}
		undated[taint] = since
	}
	c.undated[node.Name] = undated
}

// dated returns a Node's taints, the undated ones with the time when they were first seen.
func (c *Controller) dated(node *corev1.Node) []corev1.Taint {
	c.mu.Lock()
	defer c.mu.Unlock()
	taints := slices.Clone(node.Spec.Taints)
	for i := range taints {
		if since, known := c.undated[node.Name][taints[i]]; known {
			taints[i].TimeAdded = &metav1.Time{Time: since}
		}
	}
	return taints
}

// silence is how long a Node has not been heard of.
func (c *Controller) silence(node string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock.Since(c.heard[node].at)
}

func (c *Controller) nodeHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			node := obj.(*corev1.Node)
			c.noteHeartbeat(node)
			c.noteTaints(node)
			c.recorder.Eventf(node, corev1.EventTypeNormal, "RegisteredNode", "Node %s event: Registered Node %s in Controller", node.Name, node.Name)
			c.watch.Add(node.Name)
		},
		UpdateFunc: func(old, obj any) {
			before, node := old.(*corev1.Node), obj.(*corev1.Node)
			c.noteHeartbeat(node)
			c.noteTaints(node)
			if lifeChanged(before, node) {
				c.watch.Add(node.Name)
			}
		},
		DeleteFunc: func(obj any) {
			if node, ok := reconcile.Deleted[*corev1.Node](obj); ok {
				c.nodeDeleted(node)
			}
		},
	}
}

// lifeChanged says whether a Node changed in what taints and evictions depend on. Heartbeats do not.
func lifeChanged(old, node *corev1.Node) bool {
	for _, kind := range append([]corev1.NodeConditionType{corev1.NodeNetworkUnavailable}, agentConditions...) {
		before, now := condition(old, kind), condition(node, kind)
		if (before == nil) != (now == nil) || before != nil && before.Status != now.Status {
			return true
		}
	}
	return old.UID != node.UID || old.Spec.Unschedulable != node.Spec.Unschedulable ||
		!apiequality.Semantic.DeepEqual(old.Spec.Taints, node.Spec.Taints)
}

func (c *Controller) nodeDeleted(node *corev1.Node) {
	c.mu.Lock()
	delete(c.heard, node.Name)
	delete(c.undated, node.Name)
	c.mu.Unlock()
	c.recorder.Eventf(node, corev1.EventTypeNormal, "RemovingNode", "Node %s event: Removing Node %s from Controller", node.Name, node.Name)
}

func (c *Controller) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { c.podChanged(nil, obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) {
			c.podChanged(old.(*corev1.Pod), obj.(*corev1.Pod))
		},
	}
}

// podChanged looks at a Pod that came to a Node, or whose tolerations changed.
func (c *Controller) podChanged(old, pod *corev1.Pod) {
	if pod.Spec.NodeName == "" || pod.DeletionTimestamp != nil {
		return
	}
	if old == nil || old.UID != pod.UID || old.Spec.NodeName != pod.Spec.NodeName ||
		!apiequality.Semantic.DeepEqual(old.Spec.Tolerations, pod.Spec.Tolerations) {
		c.evict.Add(reconcile.ObjectKey(pod))
	}
}
