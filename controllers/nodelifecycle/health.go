package nodelifecycle

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The conditions that an agent reports, and that nobody knows once it is silent.
var agentConditions = []corev1.NodeConditionType{
	corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure,
}

// heard is when a Node last gave a sign of life, and by what that was seen.
type heard struct {
	at        time.Time // by the own clock
	renewed   time.Time // the Lease's renewTime, by the Node's clock
	heartbeat time.Time // the Ready condition's, by the Node's clock
}

// unknownConditions returns the conditions of a silent Node that are to be written; none if they are Unknown already.
func unknownConditions(node *corev1.Node, now metav1.Time) []corev1.NodeCondition {
	var changed []corev1.NodeCondition
	for _, kind := range agentConditions {
		current := condition(node, kind)
		switch {
		case current == nil:
			changed = append(changed, corev1.NodeCondition{
				Type: kind, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated",
				Message: "Kubelet never posted node status.", LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: now,
			})
		case current.Status != corev1.ConditionUnknown:
			unknown := *current
			unknown.Status, unknown.Reason = corev1.ConditionUnknown, "NodeStatusUnknown"
			unknown.Message, unknown.LastTransitionTime = "Kubelet stopped posting node status.", now
			changed = append(changed, unknown)
		}
	}
	return changed
}

func condition(node *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == kind {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

// readiness is the status of the Ready condition; an absent one is Unknown.
func readiness(node *corev1.Node) corev1.ConditionStatus {
	if ready := condition(node, corev1.NodeReady); ready != nil {
		return ready.Status
	}
	return corev1.ConditionUnknown
}
