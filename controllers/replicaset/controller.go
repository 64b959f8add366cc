package replicaset

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/kubelite/kubelite/controllers/owner"
	"github.com/kubelite/kubelite/controllers/reconcile"
)

const workers = 5

var kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// Controller makes the Pods of ReplicaSets.
type Controller struct {
	client       kubernetes.Interface
	recorder     record.EventRecorder
	clock        clock.PassiveClock
	sets         appslisters.ReplicaSetLister
	setIndex     cache.Indexer
	podIndex     cache.Indexer
	synced       []cache.DoneChecker
	expectations *expectations
	queue        *reconcile.Queue[string]
}

// New makes the controller over the factory's ReplicaSets and Pods; recorder's source is "replicaset-controller".
// It does nothing before Run.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*Controller, error) {
	sets, pods := factory.Apps().V1().ReplicaSets(), factory.Core().V1().Pods()
	for _, informer := range []cache.SharedIndexInformer{sets.Informer(), pods.Informer()} {
		if err := owner.AddIndex(informer); err != nil {
			return nil, err
		}
	}
	c := &Controller{
		client:       client,
		recorder:     recorder,
		clock:        clock.RealClock{},
		sets:         sets.Lister(),
		setIndex:     sets.Informer().GetIndexer(),
		podIndex:     pods.Informer().GetIndexer(),
		expectations: newExpectations(clock.RealClock{}),
	}
	c.queue = reconcile.NewQueue("replicaset", c.sync)
	handledSets, err := sets.Informer().AddEventHandler(c.setHandler())
	if err != nil {
		return nil, fmt.Errorf("watch ReplicaSets: %w", err)
	}
	handledPods, err := pods.Informer().AddEventHandler(c.podHandler())
	if err != nil {
		return nil, fmt.Errorf("watch Pods of ReplicaSets: %w", err)
	}
	c.synced = []cache.DoneChecker{handledSets.HasSyncedChecker(), handledPods.HasSyncedChecker()}
	return c, nil
}

// Run works until ctx is done. It waits for its caches, which the caller starts.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, workers)
	}
}

// sync brings one ReplicaSet to its number of Pods and reports what it has.
func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("sync ReplicaSet %q: %w", key, err)
	}
	rs, err := c.sets.ReplicaSets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.expectations.forget(key)
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync ReplicaSet %s: %w", key, err)
	}
	// Asked before the cache is read: what it shows later than this can only be more.
	settled := c.expectations.satisfied(key)
	pods, err := c.ownedPods(ctx, rs)
	if err != nil {
		return fmt.Errorf("claim the Pods of ReplicaSet %s: %w", key, err)
	}
	active, terminating := split(pods)
	var scaleErr error
	if settled && rs.DeletionTimestamp == nil && missing(len(active), *rs.Spec.Replicas) != 0 {
		if scaleErr = c.scale(ctx, key, rs, active); scaleErr == nil {
			return nil // what was counted is past; the watch events of the change bring the next sync
		}
	}
	status, recheck := observedStatus(rs, active, terminating, scaleErr, c.clock.Now())
	if err := c.writeStatus(ctx, rs, status); err != nil {
		return errors.Join(scaleErr, err)
	}
	if recheck > 0 {
		c.queue.AddAfter(key, recheck)
	}
	return scaleErr
}

// ownedPods returns all Pods of rs, whatever their phase, after adopting and releasing.
func (c *Controller) ownedPods(ctx context.Context, rs *appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return nil, err
	}
	pods, err := owner.ControlledBy[*corev1.Pod](c.podIndex, rs.UID)
	if err != nil {
		return nil, err
	}
	orphans, err := owner.Orphans[*corev1.Pod](c.podIndex, rs.Namespace)
	if err != nil {
		return nil, err
	}
	for _, orphan := range orphans {
		if !podGone(orphan) {
			pods = append(pods, orphan)
		}
	}
	claimer := owner.Claimer[*corev1.Pod]{
		Controller: rs,
		Kind:       kind,
		Selector:   selector,
		CanAdopt: func(ctx context.Context) error {
			live, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Get(ctx, rs.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return owner.CheckAdopter(rs, live)
		},
		Patch: func(ctx context.Context, pod *corev1.Pod, patch []byte) error {
			_, err := c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	return claimer.Claim(ctx, pods)
}

// writeStatus stores status if it says something new. A conflict is tried once more against the live object: the Pods were
// counted for this generation, whatever else changed.
func (c *Controller) writeStatus(ctx context.Context, rs *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) error {
	if apiequality.Semantic.DeepEqual(rs.Status, status) {
		return nil
	}
	sets := c.client.AppsV1().ReplicaSets(rs.Namespace)
	changed := rs.DeepCopy()
	changed.Status = status
	_, err := sets.UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		live, getErr := sets.Get(ctx, rs.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(getErr) || getErr == nil && live.UID != rs.UID:
			return nil
		case getErr != nil:
			return fmt.Errorf("read ReplicaSet %s/%s for its status: %w", rs.Namespace, rs.Name, getErr)
		}
		live.Status = status
		_, err = sets.UpdateStatus(ctx, live, metav1.UpdateOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("update status of ReplicaSet %s/%s: %w", rs.Namespace, rs.Name, err)
	}
	return nil
}
