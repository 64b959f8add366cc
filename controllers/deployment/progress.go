package deployment

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Reasons of the condition Progressing that decide what comes next.
const (
	reasonAvailable = "NewReplicaSetAvailable"
	reasonTimedOut  = "ProgressDeadlineExceeded"
	reasonPaused    = "DeploymentPaused"
)

// countReplicas fills in the status' numbers and the condition Available.
func (p *planner) countReplicas() {
	d, sets := p.deployment, p.all()
	status := &p.plan.status
	status.ObservedGeneration = d.Generation
	status.Replicas = sum(sets, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.Replicas })
	status.ReadyReplicas = sum(sets, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.ReadyReplicas })
	status.AvailableReplicas = available(sets)
	status.UnavailableReplicas = max(wanted(sets)-status.AvailableReplicas, 0)
	status.UpdatedReplicas = 0
	if p.newest != nil {
		status.UpdatedReplicas = p.newest.Status.Replicas
	}
	status.TerminatingReplicas = terminating(sets)
	if status.AvailableReplicas >= *d.Spec.Replicas-maxUnavailable(d) {
		p.setCondition(appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable",
			"Deployment has minimum availability.")
	} else {
		p.setCondition(appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable",
			"Deployment does not have minimum availability.")
	}
}

// terminating is nil while a ReplicaSet has not counted its own. One that is about to be created has none.
func terminating(sets []*appsv1.ReplicaSet) *int32 {
	total := int32(0)
	for _, rs := range sets {
		if rs.Status.TerminatingReplicas == nil {
			if rs.UID == "" {
				continue
			}
			return nil
		}
		total += *rs.Status.TerminatingReplicas
	}
	return ptr.To(total)
}

// noteProgress sets the condition Progressing, after the replicas were counted, and copies ReplicaFailure from the
// ReplicaSets.
func (p *planner) noteProgress() {
	status := &p.plan.status
	// Where a ReplicaSet is to be created, NewReplicaSetCreated was noted, and the counts are of what was there before it.
	if !hasProgressDeadline(p.deployment) {
		removeCondition(status, appsv1.DeploymentProgressing)
	} else if p.plan.create == nil {
		p.estimateProgress()
	}
	p.copyFailure()
	p.plan.recheck = untilDeadline(p.deployment, status, p.now)
}

func (p *planner) estimateProgress() {
	d, status := p.deployment, &p.plan.status
	before := condition(&d.Status, appsv1.DeploymentProgressing)
	if before != nil && before.Reason == reasonAvailable && status.Replicas == status.UpdatedReplicas {
		return // no rollout is under way
	}
	subject := fmt.Sprintf("Deployment %q", d.Name)
	if p.newest != nil {
		subject = fmt.Sprintf("ReplicaSet %q", p.newest.Name)
	}
	switch {
	case complete(d, status):
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonAvailable, subject+" has successfully progressed.")
	case progressed(&d.Status, status):
		// lastUpdateTime is to move with every bit of progress: the deadline counts from it.
		transition := metav1.NewTime(p.now)
		if before != nil && before.Status == corev1.ConditionTrue {
			transition = before.LastTransitionTime
		}
		removeCondition(status, appsv1.DeploymentProgressing)
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated", subject+" is progressing.")
		condition(status, appsv1.DeploymentProgressing).LastTransitionTime = transition
	case timedOut(d, status, p.now):
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonTimedOut, subject+" has timed out progressing.")
	}
}

// notePause sets the condition Progressing of a paused Deployment, unless it had already failed to progress.
func (p *planner) notePause() {
	current := condition(&p.plan.status, appsv1.DeploymentProgressing)
	if hasProgressDeadline(p.deployment) && (current == nil || current.Reason != reasonTimedOut && current.Reason != reasonPaused) {
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	}
}

// noteResume ends what notePause began, so that the time it was paused does not count against the deadline.
func (p *planner) noteResume() {
	current := condition(&p.plan.status, appsv1.DeploymentProgressing)
	if hasProgressDeadline(p.deployment) && current != nil && current.Reason == reasonPaused {
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, "DeploymentResumed", "Deployment is resumed")
	}
}

// copyFailure takes over the first ReplicaFailure of a ReplicaSet, the newest one's before all others.
func (p *planner) copyFailure() {
	sets := p.all()
	slices.Reverse(sets)
	for _, rs := range sets {
		for _, failure := range rs.Status.Conditions {
			if failure.Type == appsv1.ReplicaSetReplicaFailure {
				p.putCondition(appsv1.DeploymentCondition{
					Type:               appsv1.DeploymentReplicaFailure,
					Status:             failure.Status,
					LastTransitionTime: failure.LastTransitionTime,
					LastUpdateTime:     failure.LastTransitionTime,
					Reason:             failure.Reason,
					Message:            failure.Message,
				})
				return
			}
		}
	}
	removeCondition(&p.plan.status, appsv1.DeploymentReplicaFailure)
}

// complete says whether all Pods of the Deployment are of its present template and available.
func complete(d *appsv1.Deployment, status *appsv1.DeploymentStatus) bool {
	replicas := *d.Spec.Replicas
	return status.UpdatedReplicas == replicas && status.Replicas == replicas && status.AvailableReplicas == replicas &&
		status.ObservedGeneration >= d.Generation
}

// progressed says whether there are more new, ready or available Pods than before, or fewer old ones.
func progressed(before, now *appsv1.DeploymentStatus) bool {
	return now.UpdatedReplicas > before.UpdatedReplicas ||
		now.Replicas-now.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		now.ReadyReplicas > before.ReadyReplicas ||
		now.AvailableReplicas > before.AvailableReplicas
}

func timedOut(d *appsv1.Deployment, status *appsv1.DeploymentStatus, now time.Time) bool {
	current := condition(status, appsv1.DeploymentProgressing)
	switch {
	case current == nil || current.Reason == reasonAvailable:
		return false
	case current.Reason == reasonTimedOut:
		return true
	default:
		return deadline(d, current).Before(now)
	}
}

func deadline(d *appsv1.Deployment, progressing *appsv1.DeploymentCondition) time.Time {
	return progressing.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second)
}

// untilDeadline is how long to wait before the deadline has passed, 0 if there is nothing to wait for.
func untilDeadline(d *appsv1.Deployment, status *appsv1.DeploymentStatus, now time.Time) time.Duration {
	current := condition(status, appsv1.DeploymentProgressing)
	if !hasProgressDeadline(d) || current == nil || complete(d, status) || current.Reason == reasonTimedOut ||
		current.Reason == reasonAvailable {
		return 0
	}
	// lastUpdateTime has whole seconds: a second more, and the deadline has surely passed.
	return max(deadline(d, current).Sub(now), 0) + time.Second
}

// condition returns the status' condition of the type, nil if it has none.
func condition(status *appsv1.DeploymentStatus, conditionType appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == conditionType {
			return &status.Conditions[i]
		}
	}
	return nil
}

func removeCondition(status *appsv1.DeploymentStatus, conditionType appsv1.DeploymentConditionType) {
	status.Conditions = slices.DeleteFunc(status.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == conditionType })
}

func (p *planner) setCondition(conditionType appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	now := metav1.NewTime(p.now)
	p.putCondition(appsv1.DeploymentCondition{
		Type: conditionType, Status: status, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now,
	})
}

// putCondition adds a condition or replaces that of the same type, unless status and reason say the same already.
func (p *planner) putCondition(wanted appsv1.DeploymentCondition) {
	status := &p.plan.status
	if current := condition(status, wanted.Type); current != nil {
		if current.Status == wanted.Status && current.Reason == wanted.Reason {
			return
		}
		if current.Status == wanted.Status {
			wanted.LastTransitionTime = current.LastTransitionTime
		}
		removeCondition(status, wanted.Type)
	}
	status.Conditions = append(status.Conditions, wanted)
}
