package deployment

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/controllers/owner"
	"github.com/kubelite/kubelite/controllers/reconcile"
)

const workers = 5

var kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// Controller rolls Deployments out.
type Controller struct {
	client      kubernetes.Interface
	recorder    record.EventRecorder
	now         func() time.Time
	deployments appslisters.DeploymentLister
	sets        appslisters.ReplicaSetLister
	setIndex    cache.Indexer
	podIndex    cache.Indexer
	synced      []cache.DoneChecker
	queue       *reconcile.Queue[string]
}

// New makes the controller over the factory's Deployments, ReplicaSets and Pods; recorder's source is
// "deployment-controller". It does nothing before Run.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*Controller, error) {
	deployments, sets, pods := factory.Apps().V1().Deployments(), factory.Apps().V1().ReplicaSets(), factory.Core().V1().Pods()
	for _, informer := range []cache.SharedIndexInformer{sets.Informer(), pods.Informer()} {
		if err := owner.AddIndex(informer); err != nil {
			return nil, err
		}
	}
	c := &Controller{
		client:      client,
		recorder:    recorder,
		now:         time.Now,
		deployments: deployments.Lister(),
		sets:        sets.Lister(),
		setIndex:    sets.Informer().GetIndexer(),
		podIndex:    pods.Informer().GetIndexer(),
	}
	c.queue = reconcile.NewQueue("deployment", c.sync)
	for _, watched := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{deployments.Informer(), c.deploymentHandler()},
		{sets.Informer(), c.setHandler()},
		{pods.Informer(), c.podHandler()},
	} {
		handled, err := watched.informer.AddEventHandler(watched.handler)
		if err != nil {
			return nil, fmt.Errorf("watch for the deployment controller: %w", err)
		}
		c.synced = append(c.synced, handled.HasSyncedChecker())
	}
	return c, nil
}

// Run works until ctx is done. It waits for its caches, which the caller starts.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, workers)
	}
}

// sync takes the next step for one Deployment.
func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("sync Deployment %q: %w", key, err)
	}
	d, err := c.deployments.Deployments(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync Deployment %s: %w", key, err)
	}
	if selectsAll(d) {
		return c.refuseToSelectAll(ctx, d)
	}
	seen, err := c.observe(ctx, d)
	if err != nil {
		return fmt.Errorf("observe Deployment %s: %w", key, err)
	}
	made := makePlan(seen)
	if err := c.apply(ctx, d, made); err != nil {
		return fmt.Errorf("sync Deployment %s: %w", key, err)
	}
	if made.recheck > 0 {
		c.queue.AddAfter(key, made.recheck)
	}
	return nil
}

// observe gathers what a plan is made from, after adopting and releasing ReplicaSets.
func (c *Controller) observe(ctx context.Context, d *appsv1.Deployment) (observation, error) {
	sets, err := c.ownedSets(ctx, d)
	if err != nil {
		return observation{}, err
	}
	seen := observation{deployment: d, sets: sets, now: c.now()}
	if d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		return seen, nil
	}
	_, old := split(d, sets)
	for _, rs := range old {
		pods, err := owner.ControlledBy[*corev1.Pod](c.podIndex, rs.UID)
		if err != nil {
			return observation{}, err
		}
		for _, pod := range pods {
			if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
				seen.podsOfOld = true
			}
		}
	}
	return seen, nil
}

func (c *Controller) ownedSets(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, err
	}
	sets, err := owner.ControlledBy[*appsv1.ReplicaSet](c.setIndex, d.UID)
	if err != nil {
		return nil, err
	}
	orphans, err := owner.Orphans[*appsv1.ReplicaSet](c.setIndex, d.Namespace)
	if err != nil {
		return nil, err
	}
	claimer := owner.Claimer[*appsv1.ReplicaSet]{
		Controller: d,
		Kind:       kind,
		Selector:   selector,
		CanAdopt: func(ctx context.Context) error {
			live, err := c.client.AppsV1().Deployments(d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return owner.CheckAdopter(d, live)
		},
		Patch: func(ctx context.Context, rs *appsv1.ReplicaSet, patch []byte) error {
			_, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Patch(ctx, rs.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	return claimer.Claim(ctx, append(sets, orphans...))
}

// selectsAll says whether the Deployment's selector is empty, which would make every Pod its own.
func selectsAll(d *appsv1.Deployment) bool {
	return d.Spec.Selector == nil || len(d.Spec.Selector.MatchLabels) == 0 && len(d.Spec.Selector.MatchExpressions) == 0
}

func (c *Controller) refuseToSelectAll(ctx context.Context, d *appsv1.Deployment) error {
	c.recorder.Event(d, corev1.EventTypeWarning, "SelectingAll",
		"This deployment is selecting all pods. A non-empty selector is required.")
	status := d.Status.DeepCopy()
	status.ObservedGeneration = d.Generation
	return c.writeStatus(ctx, d, *status, "")
}
