package nodelifecycle

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// stay says how long a Pod may remain on a Node: for ever, or until a time, which may be past.
type stay struct {
	forever bool
	until   time.Time
}

// allowedStay weighs a Node's NoExecute taints against a Pod's tolerations. A taint is tolerated for the shortest
// tolerationSeconds of the tolerations that match it, from when it was added (now, if it does not say), or from when the
// Pod came to the Node if that was later.
func allowedStay(taints []corev1.Taint, pod *corev1.Pod, now time.Time) stay {
	result := stay{forever: true}
	for i := range taints {
		taint := &taints[i]
		if taint.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		added := now
		if taint.TimeAdded != nil {
			added = taint.TimeAdded.Time
		}
		if came := cameToNode(pod); came.After(added) {
			added = came
		}
		seconds, bounded, tolerated := toleratedFor(taint, pod.Spec.Tolerations)
		if !tolerated {
			return stay{until: now}
		}
		if until := added.Add(time.Duration(seconds) * time.Second); bounded && (result.forever || until.Before(result.until)) {
			result = stay{until: until}
		}
	}
	return result
}

// cameToNode is when a Pod was bound to its Node. Without the condition that says so it is when the Pod was made.
func cameToNode(pod *corev1.Pod) time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionTrue {
			return condition.LastTransitionTime.Time
		}
	}
	return pod.CreationTimestamp.Time
}

// toleratedFor returns the shortest time that a matching toleration gives; bounded is false if none limits it.
func toleratedFor(taint *corev1.Taint, tolerations []corev1.Toleration) (seconds int64, bounded, tolerated bool) {
	for i := range tolerations {
		if !tolerations[i].ToleratesTaint(klog.Background(), taint, false) {
			continue
		}
		tolerated = true
		if limit := tolerations[i].TolerationSeconds; limit != nil && (!bounded || *limit < seconds) {
			seconds, bounded = max(0, *limit), true
		}
	}
	return seconds, bounded, tolerated
}
