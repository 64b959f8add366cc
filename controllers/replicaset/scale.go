package replicaset

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/util/podutils"
)

// burst is the most Pods that one sync creates or deletes.
const burst = 500

// podGone says whether the Pod will never run again: it counts for nothing.
func podGone(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// split sorts a ReplicaSet's Pods into those that count and those on their way out; the rest have ended.
func split(pods []*corev1.Pod) (active, terminating []*corev1.Pod) {
	for _, pod := range pods {
		switch {
		case podGone(pod):
		case pod.DeletionTimestamp != nil:
			terminating = append(terminating, pod)
		default:
			active = append(active, pod)
		}
	}
	return active, terminating
}

// missing returns how many Pods to create (positive) or to delete (negative), burst at most.
func missing(active int, replicas int32) int {
	return max(-burst, min(int(replicas)-active, burst))
}

// newPod is the Pod that rs creates; the API server completes its name.
func newPod(rs *appsv1.ReplicaSet) *corev1.Pod {
	template := &rs.Spec.Template
	prefix := rs.Name + "-"
	if len(apivalidation.NameIsDNSSubdomain(prefix, true)) != 0 {
		prefix = rs.Name
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    prefix,
			Namespace:       rs.Namespace,
			Labels:          maps.Clone(template.Labels),
			Annotations:     maps.Clone(template.Annotations),
			Finalizers:      slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(rs, kind)},
		},
		Spec: *template.Spec.DeepCopy(),
	}
}

// podsToDelete picks count of the active Pods, those that are missed least first. related are the active Pods of all
// ReplicaSets of the same Deployment: of two equal Pods the one goes whose node holds more of them.
func podsToDelete(active, related []*corev1.Pod, count int, now time.Time) []*corev1.Pod {
	if count >= len(active) {
		return active
	}
	onNode := make(map[string]int)
	for _, pod := range related {
		onNode[pod.Spec.NodeName]++
	}
	ranked := slices.Clone(active)
	slices.SortStableFunc(ranked, func(a, b *corev1.Pod) int { return deletionOrder(a, b, onNode, now) })
	return ranked[:count]
}

// deletionOrder is negative if a is to be deleted before b: not scheduled, pending, not ready, cheaper
// (controller.kubernetes.io/pod-deletion-cost), with more company on its node, ready for less time, restarted more often,
// younger. Times are compared by their order of magnitude, so that which of many long-lived Pods goes is random (KEP-2185).
func deletionOrder(a, b *corev1.Pod, onNode map[string]int, now time.Time) int {
	aRestarts, aSidecarRestarts := restarts(a)
	bRestarts, bSidecarRestarts := restarts(b)
	order := cmp.Or(
		falseFirst(a.Spec.NodeName != "", b.Spec.NodeName != ""),
		cmp.Compare(phaseOrder(a), phaseOrder(b)),
		falseFirst(podutils.IsPodReady(a), podutils.IsPodReady(b)),
		cmp.Compare(deletionCost(a), deletionCost(b)),
		cmp.Compare(onNode[b.Spec.NodeName], onNode[a.Spec.NodeName]),
	)
	if order != 0 {
		return order
	}
	if podutils.IsPodReady(a) && podutils.IsPodReady(b) {
		aSince, bSince := readySince(a), readySince(b)
		if !aSince.Equal(bSince) {
			return cmp.Or(youngerFirst(aSince, bSince, now), cmp.Compare(a.UID, b.UID))
		}
	}
	order = cmp.Or(cmp.Compare(bRestarts, aRestarts), cmp.Compare(bSidecarRestarts, aSidecarRestarts))
	if order == 0 && !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		order = cmp.Or(youngerFirst(a.CreationTimestamp.Time, b.CreationTimestamp.Time, now), cmp.Compare(a.UID, b.UID))
	}
	return order
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case !a:
		return -1
	default:
		return 1
	}
}

func phaseOrder(pod *corev1.Pod) int {
	switch pod.Status.Phase {
	case corev1.PodPending:
		return 0
	case corev1.PodUnknown:
		return 1
	default:
		return 2
	}
}

// youngerFirst compares the orders of magnitude of two ages; an unknown time is the youngest.
func youngerFirst(a, b, now time.Time) int {
	return cmp.Compare(magnitude(a, now), magnitude(b, now))
}

func magnitude(since, now time.Time) int {
	age := now.Sub(since)
	if since.IsZero() || age <= 0 {
		return -1
	}
	return int(math.Log2(float64(age)))
}

// readySince is when the Pod's Ready condition became true; zero if it never did.
func readySince(pod *corev1.Pod) time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return condition.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// deletionCost is 0 where the annotation is absent or no number.
func deletionCost(pod *corev1.Pod) int32 {
	cost, err := strconv.ParseInt(pod.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(cost)
}

// restarts returns the most often that one of the Pod's containers, and one of its sidecars, was restarted.
func restarts(pod *corev1.Pod) (containers, sidecars int32) {
	sidecar := make(map[string]bool)
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecar[container.Name] = true
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		containers = max(containers, status.RestartCount)
	}
	for _, status := range pod.Status.InitContainerStatuses {
		if sidecar[status.Name] {
			sidecars = max(sidecars, status.RestartCount)
		}
	}
	return containers, sidecars
}
