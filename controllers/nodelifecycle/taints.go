package nodelifecycle

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// owned are the taints that this controller adds and removes; all others are left alone.
var owned = []string{
	corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable,
	corev1.TaintNodeMemoryPressure, corev1.TaintNodeDiskPressure, corev1.TaintNodePIDPressure, corev1.TaintNodeNetworkUnavailable,
}

// wantedTaints returns a Node's taints as they should be. Those that stay keep their place and time.
func wantedTaints(node *corev1.Node, now metav1.Time) []corev1.Taint {
	wanted := ownTaints(node)
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		if !slices.Contains(owned, taint.Key) || containsTaint(wanted, taint) {
			taints = append(taints, taint)
		}
	}
	for _, taint := range wanted {
		if !containsTaint(taints, taint) {
			taint.TimeAdded = &now
			taints = append(taints, taint)
		}
	}
	return taints
}

// ownTaints are those that follow from a Node's conditions and from cordoning it.
func ownTaints(node *corev1.Node) []corev1.Taint {
	var taints []corev1.Taint
	add := func(key string, effects ...corev1.TaintEffect) {
		for _, effect := range effects {
			taints = append(taints, corev1.Taint{Key: key, Effect: effect})
		}
	}
	switch readiness(node) {
	case corev1.ConditionFalse:
		add(corev1.TaintNodeNotReady, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)
	case corev1.ConditionUnknown:
		// A Node that has never said anything is not ready; one that fell silent is unreachable.
		if condition(node, corev1.NodeReady) == nil {
			add(corev1.TaintNodeNotReady, corev1.TaintEffectNoSchedule)
		} else {
			add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)
		}
	}
	for kind, key := range map[corev1.NodeConditionType]string{
		corev1.NodeMemoryPressure:     corev1.TaintNodeMemoryPressure,
		corev1.NodeDiskPressure:       corev1.TaintNodeDiskPressure,
		corev1.NodePIDPressure:        corev1.TaintNodePIDPressure,
		corev1.NodeNetworkUnavailable: corev1.TaintNodeNetworkUnavailable,
	} {
		if current := condition(node, kind); current != nil && current.Status == corev1.ConditionTrue {
			add(key, corev1.TaintEffectNoSchedule)
		}
	}
	if node.Spec.Unschedulable {
		add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	}
	slices.SortStableFunc(taints, func(a, b corev1.Taint) int { return slices.Index(owned, a.Key) - slices.Index(owned, b.Key) })
	return taints
}

func containsTaint(taints []corev1.Taint, wanted corev1.Taint) bool {
	return slices.ContainsFunc(taints, func(taint corev1.Taint) bool { return taint.MatchTaint(&wanted) })
}
