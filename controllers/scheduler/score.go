package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const topScore = 100

// scorer says how good each node is for a Pod; higher is better. Its results are spread over 0…100, then weighted.
type scorer struct {
	weight int64
	score  func(r *request, node *nodeState) int64
	// absolute scores lie in 0…100 already.
	absolute bool
}

// scorers have kube-scheduler's weights.
var scorers = []scorer{
	{weight: 3, score: intolerable},
	{weight: 2, score: preferredNode},
	{weight: 2, score: spreading},
	{weight: 2, score: preferredTopology},
	{weight: 1, score: leastAllocated, absolute: true},
}

// best returns the node with the highest score, the first of equals.
func best(r *request, nodes []*nodeState) *nodeState {
	if len(nodes) == 1 {
		return nodes[0]
	}
	totals := make([]int64, len(nodes))
	for _, scorer := range scorers {
		scores := make([]int64, len(nodes))
		for i, node := range nodes {
			scores[i] = scorer.score(r, node)
		}
		if !scorer.absolute {
			normalize(scores)
		}
		for i := range totals {
			totals[i] += scorer.weight * scores[i]
		}
	}
	winner := 0
	for i, total := range totals {
		if total > totals[winner] {
			winner = i
		}
	}
	return nodes[winner]
}

// normalize stretches scores to 0…100; equal scores become zero.
func normalize(scores []int64) {
	lowest, highest := scores[0], scores[0]
	for _, score := range scores {
		lowest, highest = min(lowest, score), max(highest, score)
	}
	for i := range scores {
		if highest == lowest {
			scores[i] = 0
		} else {
			scores[i] = (scores[i] - lowest) * topScore / (highest - lowest)
		}
	}
}

// intolerable counts, negatively, the PreferNoSchedule taints that the Pod does not tolerate.
func intolerable(r *request, node *nodeState) int64 {
	var score int64
	for i := range node.node.Spec.Taints {
		taint := &node.node.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule && !tolerates(r.pod.Spec.Tolerations, taint) {
			score--
		}
	}
	return score
}

func preferredNode(r *request, node *nodeState) int64 {
	if r.preferredNodes == nil {
		return 0
	}
	return r.preferredNodes.Score(node.node)
}

// spreading counts, negatively, the Pods of the same controller or Service that run on the node. A Pod with spread
// constraints of its own is spread by these.
func spreading(r *request, node *nodeState) int64 {
	if len(r.pod.Spec.TopologySpreadConstraints) > 0 {
		return r.spreadScore(node)
	}
	owner := metav1.GetControllerOfNoCopy(r.pod)
	var siblings int64
	for _, other := range node.pods {
		if other.pod.Namespace != r.pod.Namespace || other.pod.DeletionTimestamp != nil {
			continue
		}
		theirs := metav1.GetControllerOfNoCopy(other.pod)
		if owner != nil && theirs != nil && owner.UID == theirs.UID || selectedByAny(r.services, other.pod) {
			siblings++
		}
	}
	return -siblings
}

func selectedByAny(selectors []labels.Selector, pod *corev1.Pod) bool {
	for _, selector := range selectors {
		if selector.Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}

// leastAllocated is the share of CPU and memory that stays free, in percent.
func leastAllocated(r *request, node *nodeState) int64 {
	var sum, counted int64
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		quantity := node.node.Status.Allocatable[name]
		allocatable := quantity.Value()
		if name == corev1.ResourceCPU {
			allocatable = quantity.MilliValue()
		}
		if allocatable == 0 {
			continue
		}
		free := max(0, allocatable-node.score[name]-r.score[name])
		// As a fraction first: bytes times a hundred fit an int64 up to 80 PiB.
		sum += free * topScore / allocatable
		counted++
	}
	if counted == 0 {
		return 0
	}
	return sum / counted
}
