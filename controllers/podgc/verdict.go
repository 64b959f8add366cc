package podgc

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// verdict is what is to be done about a Pod.
type verdict int

const (
	keep      verdict = iota
	orphaned          // its Node does not exist
	unwatched         // deleted, and no agent will ever see it
)

func judge(pod *corev1.Pod, nodeExists bool) verdict {
	switch {
	case pod.Spec.NodeName == "" && pod.DeletionTimestamp != nil:
		return unwatched
	case pod.Spec.NodeName != "" && !nodeExists:
		return orphaned
	}
	return keep
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// surplus returns the oldest finished Pods beyond the threshold.
func surplus(pods []*corev1.Pod, threshold int) []*corev1.Pod {
	var done []*corev1.Pod
	for _, pod := range pods {
		if finished(pod) && pod.DeletionTimestamp == nil {
			done = append(done, pod)
		}
	}
	if len(done) <= threshold {
		return nil
	}
	slices.SortFunc(done, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return done[:len(done)-threshold]
}
