package deployment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// errStale is returned when the cache does not show yet what the controller did itself: the event that brings it wakes the
// Deployment again.
var errStale = errors.New("the cache is behind")

// apply carries a plan out. What was done before an error stays; the next sync goes on from there.
func (c *Controller) apply(ctx context.Context, d *appsv1.Deployment, made plan) error {
	if made.create != nil {
		err := c.createSet(ctx, d, made)
		if errors.Is(err, errStale) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	for _, changed := range made.change {
		if err := c.changeSet(ctx, d, changed); err != nil {
			return err
		}
	}
	for _, rs := range made.remove {
		err := c.client.AppsV1().ReplicaSets(rs.Namespace).Delete(ctx, rs.Name, *metav1.NewPreconditionDeleteOptions(string(rs.UID)))
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete old ReplicaSet %s: %w", rs.Name, err)
		}
	}
	return c.writeStatus(ctx, d, made.status, made.revision)
}

func (c *Controller) createSet(ctx context.Context, d *appsv1.Deployment, made plan) error {
	rs := made.create
	_, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Create(ctx, rs, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.recordScale(d, rs, 0)
		return nil
	case apierrors.IsAlreadyExists(err):
		return c.resolveTakenName(ctx, d, rs)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return errStale // nothing can be created any more, and the Deployment is about to go
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
	c.recorder.Event(d, corev1.EventTypeWarning, "ReplicaSetCreateError", message)
	err = fmt.Errorf("create ReplicaSet %s: %w", rs.Name, err)
	if hasProgressDeadline(d) {
		p := planner{observation: observation{deployment: d, now: c.now()}, plan: plan{status: *d.Status.DeepCopy()}}
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ReplicaSetCreateError", message)
		err = errors.Join(err, c.writeStatus(ctx, d, p.plan.status, ""))
	}
	return err
}

// resolveTakenName finds out why the new ReplicaSet's name is taken: by itself, created by an earlier sync; or by another
// template with the same hash, which counts as a collision so that the next name differs.
func (c *Controller) resolveTakenName(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet) error {
	existing, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Get(ctx, rs.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read ReplicaSet %s, whose name is taken: %w", rs.Name, err)
	}
	ref := metav1.GetControllerOfNoCopy(existing)
	if ref != nil && ref.UID == d.UID && sameTemplate(&existing.Spec.Template, &d.Spec.Template) {
		return errStale
	}
	status := d.Status.DeepCopy()
	status.CollisionCount = ptr.To(ptr.Deref(status.CollisionCount, 0) + 1)
	if err := c.writeStatus(ctx, d, *status, ""); err != nil {
		return err
	}
	return errStale
}

func (c *Controller) changeSet(ctx context.Context, d *appsv1.Deployment, changed change) error {
	if _, err := c.client.AppsV1().ReplicaSets(d.Namespace).Update(ctx, changed.set, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update ReplicaSet %s: %w", changed.set.Name, err)
	}
	c.recordScale(d, changed.set, changed.from)
	return nil
}

func (c *Controller) recordScale(d *appsv1.Deployment, rs *appsv1.ReplicaSet, from int32) {
	to := *rs.Spec.Replicas
	if to == from {
		return
	}
	direction := "up"
	if to < from {
		direction = "down"
	}
	c.recorder.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction, rs.Name, from, to)
}

// writeStatus stores the status and, unless it is "", the revision, if they say something new.
func (c *Controller) writeStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus, revision string) error {
	revised := revision != "" && d.Annotations[revisionAnnotation] != revision
	if !revised && apiequality.Semantic.DeepEqual(d.Status, status) {
		return nil
	}
	deployments := c.client.AppsV1().Deployments(d.Namespace)
	changed := d.DeepCopy()
	changed.Status = status
	if revised {
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, revisionAnnotation, revision)
	}
	stored, err := deployments.UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("update status: %w", err)
	}
	if !revised || stored.Annotations[revisionAnnotation] == revision {
		return nil
	}
	// Kubernetes stores annotations with a Deployment's status. A server that does not gets them by themselves.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{revisionAnnotation: revision}}})
	if err != nil {
		return fmt.Errorf("encode revision: %w", err)
	}
	if _, err := deployments.Patch(ctx, d.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("annotate with revision %s: %w", revision, err)
	}
	return nil
}
