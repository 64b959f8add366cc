package replicaset

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/owner"
	"github.com/kubelite/kubelite/controllers/reconcile"
)

func (c *Controller) setHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
		UpdateFunc: func(old, obj any) {
			if old.(*appsv1.ReplicaSet).UID != obj.(*appsv1.ReplicaSet).UID {
				c.expectations.forget(reconcile.ObjectKey(obj))
			}
			c.queue.Add(reconcile.ObjectKey(obj))
		},
		DeleteFunc: func(obj any) {
			key := reconcile.ObjectKey(obj)
			c.expectations.forget(key)
			c.queue.Add(key)
		},
	}
}

func (c *Controller) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { c.podAdded(obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) {
			c.podUpdated(old.(*corev1.Pod), obj.(*corev1.Pod))
		},
		DeleteFunc: func(obj any) {
			if pod, ok := reconcile.Deleted[*corev1.Pod](obj); ok {
				c.podDeleted(pod)
			}
		},
	}
}

func (c *Controller) podAdded(pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		c.podDeleted(pod)
		return
	}
	if key, owned := c.setKey(pod); owned {
		c.expectations.created(key)
		c.queue.Add(key)
		return
	}
	c.offerOrphan(pod)
}

func (c *Controller) podUpdated(old, pod *corev1.Pod) {
	relabelled := !maps.Equal(old.Labels, pod.Labels)
	if pod.DeletionTimestamp != nil {
		// Terminating is as good as deleted: a replacement need not wait for the end of the grace period.
		c.podDeleted(pod)
		if relabelled {
			c.podDeleted(old)
		}
		return
	}
	key, owned := c.setKey(pod)
	oldKey, wasOwned := c.setKey(old)
	if wasOwned && oldKey != key {
		c.queue.Add(oldKey)
	}
	if owned {
		c.queue.Add(key)
		return
	}
	if relabelled || wasOwned {
		c.offerOrphan(pod)
	}
}

func (c *Controller) podDeleted(pod *corev1.Pod) {
	if key, owned := c.setKey(pod); owned {
		c.expectations.deleted(key, pod.UID)
		c.queue.Add(key)
	}
}

// setKey is the key of the ReplicaSet that controls pod; owned is false if none does, or one that is gone.
func (c *Controller) setKey(pod *corev1.Pod) (key string, owned bool) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil || ref.Kind != kind.Kind {
		return "", false
	}
	rs, err := c.sets.ReplicaSets(pod.Namespace).Get(ref.Name)
	if err != nil || rs.UID != ref.UID {
		return "", false
	}
	return reconcile.ObjectKey(rs), true
}

// offerOrphan wakes every ReplicaSet that would adopt pod.
func (c *Controller) offerOrphan(pod *corev1.Pod) {
	if metav1.GetControllerOfNoCopy(pod) != nil {
		return
	}
	sets, err := c.sets.ReplicaSets(pod.Namespace).List(labels.Everything())
	if err != nil {
		return // the cache cannot fail: its error is for other listers
	}
	for _, rs := range sets {
		selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
		if err == nil && !selector.Empty() && owner.Decide(rs, pod, selector) == owner.Adopt {
			c.queue.Add(reconcile.ObjectKey(rs))
		}
	}
}
