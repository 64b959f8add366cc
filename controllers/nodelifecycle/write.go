package nodelifecycle

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// writeConditions changes only the given conditions (the agent may be writing others) and returns the Node as it is then.
func (c *Controller) writeConditions(ctx context.Context, node *corev1.Node, conditions []corev1.NodeCondition) (*corev1.Node, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID},
		"status":   map[string]any{"conditions": conditions},
	})
	if err != nil {
		return nil, fmt.Errorf("encode conditions of node %s: %w", node.Name, err)
	}
	written, err := c.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("write conditions of node %s: %w", node.Name, err)
	}
	return written, nil
}

// writeTaints replaces the list of taints; it conflicts with whoever changed the Node meanwhile.
func (c *Controller) writeTaints(ctx context.Context, node *corev1.Node, taints []corev1.Taint) error {
	// null instead of an empty list would be the same; an absent field would change nothing.
	if taints == nil {
		taints = []corev1.Taint{}
	}
	metadata := map[string]any{"uid": node.UID}
	if node.ResourceVersion != "" {
		metadata["resourceVersion"] = node.ResourceVersion
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata, "spec": map[string]any{"taints": taints}})
	if err != nil {
		return fmt.Errorf("encode taints of node %s: %w", node.Name, err)
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write taints of node %s: %w", node.Name, err)
	}
	return nil
}

// markNotReady takes a Pod out of the endpoints: nobody knows any more whether it serves.
func (c *Controller) markNotReady(ctx context.Context, pod *corev1.Pod) error {
	ready := false
	for _, current := range pod.Status.Conditions {
		ready = ready || current.Type == corev1.PodReady && current.Status == corev1.ConditionTrue
	}
	if !ready {
		return nil
	}
	err := c.patchPodCondition(ctx, pod, map[string]any{"type": corev1.PodReady, "status": corev1.ConditionFalse})
	if err != nil {
		return fmt.Errorf("mark Pod %s/%s not ready: %w", pod.Namespace, pod.Name, err)
	}
	c.recorder.Event(pod, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	return nil
}

// deletePod evicts a Pod in its own grace period; on a Node that is gone that ends when the Node comes back or is deleted.
func (c *Controller) deletePod(ctx context.Context, pod *corev1.Pod) error {
	c.recorder.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s/%s", pod.Namespace, pod.Name)
	err := c.patchPodCondition(ctx, pod, map[string]any{
		"type": corev1.DisruptionTarget, "status": corev1.ConditionTrue,
		"reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint",
	})
	if err != nil {
		return fmt.Errorf("say why Pod %s/%s is evicted: %w", pod.Namespace, pod.Name, err)
	}
	err = c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: ptr.To(pod.UID)},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("evict Pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (c *Controller) patchPodCondition(ctx context.Context, pod *corev1.Pod, condition map[string]any) error {
	condition["lastTransitionTime"] = metav1.NewTime(c.clock.Now())
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []map[string]any{condition}},
	})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
