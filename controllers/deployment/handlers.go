package deployment

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/owner"
	"github.com/kubelite/kubelite/controllers/reconcile"
)

func (c *Controller) deploymentHandler() cache.ResourceEventHandler {
	add := func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) }
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, obj any) { add(obj) },
		DeleteFunc: add,
	}
}

func (c *Controller) setHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			rs := obj.(*appsv1.ReplicaSet)
			if !c.wakeOwner(rs) {
				c.offerOrphan(rs)
			}
		},
		UpdateFunc: func(old, obj any) { c.setUpdated(old.(*appsv1.ReplicaSet), obj.(*appsv1.ReplicaSet)) },
		DeleteFunc: func(obj any) {
			if rs, ok := reconcile.Deleted[*appsv1.ReplicaSet](obj); ok {
				c.wakeOwner(rs)
			}
		},
	}
}

func (c *Controller) setUpdated(old, rs *appsv1.ReplicaSet) {
	moved := !apiequality.Semantic.DeepEqual(metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(rs))
	if moved {
		c.wakeOwner(old)
	}
	if c.wakeOwner(rs) {
		return
	}
	if moved || !maps.Equal(old.Labels, rs.Labels) {
		c.offerOrphan(rs)
	}
}

// podHandler waits for the end of old Pods, for which a Deployment that recreates them waits.
func (c *Controller) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, obj any) {
			if old.(*corev1.Pod).Status.Phase != obj.(*corev1.Pod).Status.Phase {
				c.podChanged(obj.(*corev1.Pod))
			}
		},
		DeleteFunc: func(obj any) {
			if pod, ok := reconcile.Deleted[*corev1.Pod](obj); ok {
				c.podChanged(pod)
			}
		},
	}
}

func (c *Controller) podChanged(pod *corev1.Pod) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return
	}
	rs, err := c.sets.ReplicaSets(pod.Namespace).Get(ref.Name)
	if err != nil || rs.UID != ref.UID {
		return
	}
	if d := c.ownerOf(rs); d != nil && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		c.queue.Add(reconcile.ObjectKey(d))
	}
}

// wakeOwner queues the Deployment that controls rs; it returns false if rs has no controller at all.
func (c *Controller) wakeOwner(rs *appsv1.ReplicaSet) bool {
	if d := c.ownerOf(rs); d != nil {
		c.queue.Add(reconcile.ObjectKey(d))
	}
	return metav1.GetControllerOfNoCopy(rs) != nil
}

// ownerOf is the Deployment that controls rs, nil if none does, or one that is gone.
func (c *Controller) ownerOf(rs *appsv1.ReplicaSet) *appsv1.Deployment {
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil || ref.Kind != kind.Kind {
		return nil
	}
	d, err := c.deployments.Deployments(rs.Namespace).Get(ref.Name)
	if err != nil || d.UID != ref.UID {
		return nil
	}
	return d
}

// offerOrphan wakes every Deployment that would adopt rs.
func (c *Controller) offerOrphan(rs *appsv1.ReplicaSet) {
	deployments, err := c.deployments.Deployments(rs.Namespace).List(labels.Everything())
	if err != nil {
		return // the cache cannot fail: its error is for other listers
	}
	for _, d := range deployments {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && owner.Decide(d, rs, selector) == owner.Adopt {
			c.queue.Add(reconcile.ObjectKey(d))
		}
	}
}
