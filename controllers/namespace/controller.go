package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/served"
)

const (
	workers = 4
	// lookAgain is how often content that only its finalizers keep is looked for.
	lookAgain = time.Second
)

// Controller finishes the deletion of namespaces.
type Controller struct {
	client     kubernetes.Interface
	content    metadata.Interface
	kinds      *served.Kinds
	namespaces corelisters.NamespaceLister
	synced     []cache.DoneChecker
	queue      *reconcile.Queue[string]
}

// New makes the controller over the factory's Namespaces and Pods; content deletes objects of the given kinds.
// It does nothing before Run.
func New(client kubernetes.Interface, content metadata.Interface, kinds *served.Kinds, factory informers.SharedInformerFactory) (*Controller, error) {
	namespaces, pods := factory.Core().V1().Namespaces(), factory.Core().V1().Pods()
	c := &Controller{client: client, content: content, kinds: kinds, namespaces: namespaces.Lister()}
	c.queue = reconcile.NewQueue("namespace", c.sync)
	handledNamespaces, err := namespaces.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    c.namespaceSeen,
		UpdateFunc: func(_, obj any) { c.namespaceSeen(obj) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch Namespaces: %w", err)
	}
	handledPods, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: c.podGone})
	if err != nil {
		return nil, fmt.Errorf("watch Pods of namespaces: %w", err)
	}
	c.synced = []cache.DoneChecker{handledNamespaces.HasSyncedChecker(), handledPods.HasSyncedChecker()}
	return c, nil
}

// Run works until ctx is done. It waits for its caches, which the caller starts.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, workers)
	}
}

func (c *Controller) namespaceSeen(obj any) {
	if namespace, ok := obj.(*corev1.Namespace); ok && namespace.DeletionTimestamp != nil {
		c.queue.Add(namespace.Name)
	}
}

func (c *Controller) podGone(obj any) {
	pod, ok := reconcile.Deleted[*corev1.Pod](obj)
	if !ok {
		return
	}
	namespace, err := c.namespaces.Get(pod.Namespace)
	if err == nil && namespace.DeletionTimestamp != nil {
		c.queue.Add(namespace.Name)
	}
}

// sync deletes what is left in a terminating namespace, and the namespace once nothing is.
func (c *Controller) sync(ctx context.Context, name string) error {
	cached, err := c.namespaces.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync Namespace %s: %w", name, err)
	}
	if cached.DeletionTimestamp == nil || !slices.Contains(cached.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return nil
	}
	left := c.deleteContent(ctx, name)
	if !left.empty() {
		if err := c.writeConditions(ctx, cached, left); err != nil {
			return errors.Join(left.failure(), err)
		}
		c.queue.AddAfter(name, lookAgain)
		return left.failure()
	}
	return c.finalize(ctx, cached)
}

// finalize removes the finalizer by which this controller held the namespace.
func (c *Controller) finalize(ctx context.Context, cached *corev1.Namespace) error {
	namespaces := c.client.CoreV1().Namespaces()
	live, err := namespaces.Get(ctx, cached.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Namespace %s to finalize it: %w", cached.Name, err)
	}
	if live.UID != cached.UID {
		return nil
	}
	live.Spec.Finalizers = slices.DeleteFunc(live.Spec.Finalizers, func(finalizer corev1.FinalizerName) bool {
		return finalizer == corev1.FinalizerKubernetes
	})
	if _, err := namespaces.Finalize(ctx, live, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("finalize Namespace %s: %w", cached.Name, err)
	}
	return nil
}

func (c *Controller) writeConditions(ctx context.Context, cached *corev1.Namespace, left remains) error {
	changed := cached.DeepCopy()
	if !setConditions(&changed.Status, left, metav1.Now()) {
		return nil
	}
	_, err := c.client.CoreV1().Namespaces().UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("update conditions of Namespace %s: %w", cached.Name, err)
	}
	return nil
}
