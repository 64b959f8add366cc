package namespace

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/served"
)

// remains is what is still in a namespace after a round of deletion.
type remains struct {
	objects    map[schema.GroupResource]int
	finalizers map[string]int // objects by the finalizers that they have
	failures   []error
}

func (r *remains) empty() bool { return len(r.objects) == 0 && len(r.failures) == 0 }

func (r *remains) failure() error { return errors.Join(r.failures...) }

func (r *remains) add(resource schema.GroupResource, objects []metav1.PartialObjectMetadata) {
	if len(objects) == 0 {
		return
	}
	r.objects[resource] = len(objects)
	for i := range objects {
		for _, finalizer := range objects[i].Finalizers {
			r.finalizers[finalizer]++
		}
	}
}

// deleteContent deletes the Pods of the namespace and, once none is left, everything else.
func (c *Controller) deleteContent(ctx context.Context, namespace string) remains {
	left := remains{objects: make(map[schema.GroupResource]int), finalizers: make(map[string]int)}
	isPods := func(kind served.Kind) bool { return kind.Resource == corev1.SchemeGroupVersion.WithResource("pods") }
	for _, kind := range c.kinds.All() {
		if isPods(kind) {
			c.deleteKind(ctx, namespace, kind, &left)
		}
	}
	if !left.empty() {
		return left
	}
	for _, kind := range c.kinds.All() {
		if kind.Namespaced && !isPods(kind) {
			c.deleteKind(ctx, namespace, kind, &left)
		}
	}
	return left
}

// deleteKind deletes the namespace's objects of one kind, unless all are on their way out already, and notes in left those
// that remain.
func (c *Controller) deleteKind(ctx context.Context, namespace string, kind served.Kind, left *remains) {
	objects := c.content.Resource(kind.Resource).Namespace(namespace)
	fail := func(action string, err error) {
		left.failures = append(left.failures, fmt.Errorf("%s %s: %w", action, kind.Resource.GroupResource(), err))
	}
	list, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		fail("list", err)
		return
	}
	if allTerminating(list.Items) {
		left.add(kind.Resource.GroupResource(), list.Items)
		return
	}
	err = objects.DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		fail("delete", err)
		return
	}
	if list, err = objects.List(ctx, metav1.ListOptions{}); err != nil {
		fail("list", err)
		return
	}
	left.add(kind.Resource.GroupResource(), list.Items)
}

func allTerminating(objects []metav1.PartialObjectMetadata) bool {
	for i := range objects {
		if objects[i].DeletionTimestamp == nil {
			return false
		}
	}
	return true
}
