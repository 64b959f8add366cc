package replicaset

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/kubectl/pkg/util/podutils"
	"k8s.io/utils/ptr"
)

// observedStatus is rs's status given its Pods and what went wrong with scaling it (nil: nothing). recheck is when a Pod
// that is ready will have been so for minReadySeconds, 0 if none is waiting for that.
func observedStatus(rs *appsv1.ReplicaSet, active, terminating []*corev1.Pod, scaleErr error, now time.Time) (status appsv1.ReplicaSetStatus, recheck time.Duration) {
	status = *rs.Status.DeepCopy()
	status.ObservedGeneration = rs.Generation
	status.Replicas = int32(len(active))
	status.TerminatingReplicas = ptr.To(int32(len(terminating)))
	status.FullyLabeledReplicas, status.ReadyReplicas, status.AvailableReplicas = 0, 0, 0
	template := labels.SelectorFromSet(rs.Spec.Template.Labels)
	for _, pod := range active {
		if template.Matches(labels.Set(pod.Labels)) {
			status.FullyLabeledReplicas++
		}
		if !podutils.IsPodReady(pod) {
			continue
		}
		status.ReadyReplicas++
		if podutils.IsPodAvailable(pod, rs.Spec.MinReadySeconds, metav1.NewTime(now)) {
			status.AvailableReplicas++
			continue
		}
		available := readySince(pod).Add(time.Duration(rs.Spec.MinReadySeconds) * time.Second)
		// The timestamp has whole seconds, and a comparison is strict: a moment later it holds.
		wait := max(available.Sub(now), 0) + 10*time.Millisecond
		if recheck == 0 || wait < recheck {
			recheck = wait
		}
	}
	status.Conditions = withFailure(status.Conditions, int(*rs.Spec.Replicas)-len(active), scaleErr, now)
	return status, recheck
}

// withFailure sets or removes the ReplicaFailure condition. missing is the number of Pods wanted but not there.
func withFailure(conditions []appsv1.ReplicaSetCondition, missing int, scaleErr error, now time.Time) []appsv1.ReplicaSetCondition {
	isFailure := func(condition appsv1.ReplicaSetCondition) bool {
		return condition.Type == appsv1.ReplicaSetReplicaFailure
	}
	if scaleErr == nil {
		return slices.DeleteFunc(conditions, isFailure)
	}
	if slices.ContainsFunc(conditions, isFailure) {
		return conditions
	}
	reason := ""
	switch {
	case missing > 0:
		reason = "FailedCreate"
	case missing < 0:
		reason = "FailedDelete"
	}
	return append(conditions, appsv1.ReplicaSetCondition{
		Type:               appsv1.ReplicaSetReplicaFailure,
		Status:             corev1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(now),
		Reason:             reason,
		Message:            scaleErr.Error(),
	})
}
