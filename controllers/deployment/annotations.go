package deployment

import (
	"maps"
	"math"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Annotations of a Deployment (revision) and of its ReplicaSets (all).
const (
	revisionAnnotation        = "deployment.kubernetes.io/revision"
	revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	// desiredReplicasAnnotation is the Deployment's spec.replicas when the ReplicaSet was last scaled: where it differs
	// from the Deployment's own now, somebody has scaled the Deployment.
	desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	// maxReplicasAnnotation is that number plus the surge.
	maxReplicasAnnotation = "deployment.kubernetes.io/max-replicas"

	maxRevisionHistoryBytes = 2000
)

// ownAnnotations are not copied from a Deployment to its ReplicaSets.
var ownAnnotations = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true,
	revisionAnnotation:                 true,
	revisionHistoryAnnotation:          true,
	desiredReplicasAnnotation:          true,
	maxReplicasAnnotation:              true,
	appsv1.DeprecatedRollbackTo:        true,
}

// annotated returns the annotations that the Deployment's newest ReplicaSet should have, given those it has: the
// Deployment's own, and revision if that is higher than what it had; the lower one joins the history then.
func annotated(d *appsv1.Deployment, current map[string]string, revision int64) map[string]string {
	wanted := maps.Clone(current)
	if wanted == nil {
		wanted = make(map[string]string)
	}
	for name, value := range d.Annotations {
		if !ownAnnotations[name] {
			wanted[name] = value
		}
	}
	old, had := current[revisionAnnotation]
	oldRevision, err := strconv.ParseInt(old, 10, 64)
	if had && old != "" && err != nil {
		return wanted // somebody wrote nonsense into it: left as it is
	}
	if oldRevision >= revision {
		return wanted
	}
	wanted[revisionAnnotation] = strconv.FormatInt(revision, 10)
	if had {
		wanted[revisionHistoryAnnotation] = appendedHistory(current[revisionHistoryAnnotation], old)
	}
	return wanted
}

// appendedHistory adds a revision to the comma separated ones; the oldest fall off where it gets too long.
func appendedHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	revisions := strings.Split(history+","+revision, ",")
	for len(revisions) > 1 && len(strings.Join(revisions, ",")) > maxRevisionHistoryBytes {
		revisions = revisions[1:]
	}
	return strings.Join(revisions, ",")
}

// sizeAnnotated sets on annotations what size the Deployment has now. annotations must not be nil.
func sizeAnnotated(d *appsv1.Deployment, annotations map[string]string) {
	annotations[desiredReplicasAnnotation] = strconv.FormatInt(int64(*d.Spec.Replicas), 10)
	annotations[maxReplicasAnnotation] = strconv.FormatInt(int64(*d.Spec.Replicas+maxSurge(d)), 10)
}

// count reads a number of Pods from an annotation; ok is false where there is none.
func count(rs *appsv1.ReplicaSet, annotation string) (n int32, ok bool) {
	parsed, err := strconv.ParseInt(rs.Annotations[annotation], 10, 32)
	return int32(parsed), err == nil
}

// revisionOf is 0 where the ReplicaSet has no revision.
func revisionOf(rs *appsv1.ReplicaSet) int64 {
	revision, err := strconv.ParseInt(rs.Annotations[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

// hasProgressDeadline: the largest number means none, as in Kubernetes.
func hasProgressDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}
