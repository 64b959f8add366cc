package replicaset

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/controllers/owner"
)

// scale creates or deletes Pods until rs has its number of active ones.
func (c *Controller) scale(ctx context.Context, key string, rs *appsv1.ReplicaSet, active []*corev1.Pod) error {
	switch count := missing(len(active), *rs.Spec.Replicas); {
	case count > 0:
		return c.createPods(ctx, key, rs, count)
	case count < 0:
		related, err := c.relatedPods(rs)
		if err != nil {
			return err
		}
		return c.deletePods(ctx, key, rs, podsToDelete(active, related, -count, c.clock.Now()))
	default:
		return nil
	}
}

// createPods creates one Pod, then two at once, then four …, and stops after the first batch with a failure: Pods that a
// quota refuses do not become a flood of requests.
func (c *Controller) createPods(ctx context.Context, key string, rs *appsv1.ReplicaSet, count int) error {
	c.expectations.expectCreations(key, count)
	tried := 0
	for batch := 1; tried < count; batch *= 2 {
		batch = min(batch, count-tried)
		err := inParallel(batch, func(int) error { return c.createPod(ctx, key, rs) })
		tried += batch
		if err != nil {
			c.expectations.createdMany(key, count-tried)
			return err
		}
	}
	return nil
}

func (c *Controller) createPod(ctx context.Context, key string, rs *appsv1.ReplicaSet) error {
	pod, err := c.client.CoreV1().Pods(rs.Namespace).Create(ctx, newPod(rs), metav1.CreateOptions{})
	switch {
	case err == nil:
		c.recorder.Eventf(rs, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %s", pod.Name)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // no Pod will ever be created: the expectation keeps this ReplicaSet still until it is deleted
	default:
		c.expectations.created(key)
		c.recorder.Eventf(rs, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
		return err
	}
}

// deletePods deletes the Pods all at once.
func (c *Controller) deletePods(ctx context.Context, key string, rs *appsv1.ReplicaSet, pods []*corev1.Pod) error {
	uids := make([]types.UID, len(pods))
	for i, pod := range pods {
		uids[i] = pod.UID
	}
	c.expectations.expectDeletions(key, uids)
	return inParallel(len(pods), func(i int) error {
		pod := pods[i]
		err := c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *metav1.NewPreconditionDeleteOptions(string(pod.UID)))
		switch {
		case err == nil:
			c.recorder.Eventf(rs, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
			return nil
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			c.expectations.deleted(key, pod.UID) // it, or its successor of the same name, is not the one to delete
			return nil
		default:
			c.expectations.deleted(key, pod.UID)
			c.recorder.Eventf(rs, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
			return fmt.Errorf("unable to delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	})
}

// relatedPods returns the active Pods of all ReplicaSets with rs's controller, its own included.
func (c *Controller) relatedPods(rs *appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	sets := []*appsv1.ReplicaSet{rs}
	if ref := metav1.GetControllerOfNoCopy(rs); ref != nil {
		var err error
		if sets, err = owner.ControlledBy[*appsv1.ReplicaSet](c.setIndex, ref.UID); err != nil {
			return nil, err
		}
	}
	var related []*corev1.Pod
	for _, set := range sets {
		pods, err := owner.ControlledBy[*corev1.Pod](c.podIndex, set.UID)
		if err != nil {
			return nil, err
		}
		active, _ := split(pods)
		related = append(related, active...)
	}
	return related, nil
}

// inParallel calls do for 0 … count-1 at the same time and returns one of the errors: they are much the same.
func inParallel(count int, do func(i int) error) error {
	failures := make([]error, count)
	var running sync.WaitGroup
	for i := range count {
		running.Go(func() { failures[i] = do(i) })
	}
	running.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}
