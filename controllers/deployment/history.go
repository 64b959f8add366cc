package deployment

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/dump"
	"k8s.io/utils/ptr"
)

// hashLabel tells the Pods of a Deployment's ReplicaSets apart: "pod-template-hash".
const hashLabel = appsv1.DefaultDeploymentUniqueLabelKey

// templateHash is Kubernetes' hash of a Pod template; collisions is mixed in where an earlier one was taken.
func templateHash(template *corev1.PodTemplateSpec, collisions *int32) string {
	hasher := fnv.New32a()
	hasher.Write([]byte(dump.ForHash(*template)))
	if collisions != nil {
		var mixed [8]byte
		binary.LittleEndian.PutUint32(mixed[:], uint32(*collisions))
		hasher.Write(mixed[:])
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(hasher.Sum32()), 10))
}

// sameTemplate compares two templates but for the hash label.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	return apiequality.Semantic.DeepEqual(withoutHash(a), withoutHash(b))
}

// withoutHash returns a shallow copy of template without the hash label.
func withoutHash(template *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	if _, labelled := template.Labels[hashLabel]; !labelled {
		return template
	}
	copied := *template
	copied.Labels = maps.Clone(template.Labels)
	delete(copied.Labels, hashLabel)
	return &copied
}

// split returns the ReplicaSet of the Deployment's present template, nil if there is none, and all others. Of several with
// the template the oldest is the new one.
func split(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (newest *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) {
	for _, rs := range slices.SortedStableFunc(slices.Values(sets), olderFirst) {
		if newest == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			newest = rs
			continue
		}
		old = append(old, rs)
	}
	return newest, old
}

func olderFirst(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// newReplicaSet is the ReplicaSet of the Deployment's present template, with no replicas yet.
func newReplicaSet(d *appsv1.Deployment, revision int64) *appsv1.ReplicaSet {
	hash := templateHash(&d.Spec.Template, d.Status.CollisionCount)
	template := d.Spec.Template.DeepCopy()
	if template.Labels == nil {
		template.Labels = make(map[string]string)
	}
	template.Labels[hashLabel] = hash
	selector := d.Spec.Selector.DeepCopy()
	if selector.MatchLabels == nil {
		selector.MatchLabels = make(map[string]string)
	}
	selector.MatchLabels[hashLabel] = hash
	annotations := annotated(d, nil, revision)
	sizeAnnotated(d, annotations)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name:            d.Name + "-" + hash,
			Namespace:       d.Namespace,
			Labels:          maps.Clone(template.Labels),
			Annotations:     annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        ptr.To[int32](0),
			MinReadySeconds: d.Spec.MinReadySeconds,
			Selector:        selector,
			Template:        *template,
		},
	}
}

// nextRevision is one more than the highest of the old ReplicaSets.
func nextRevision(old []*appsv1.ReplicaSet) int64 {
	highest := int64(0)
	for _, rs := range old {
		highest = max(highest, revisionOf(rs))
	}
	return highest + 1
}

// superfluous returns the old ReplicaSets beyond the Deployment's revisionHistoryLimit, the lowest revisions first, but for
// those that still have Pods or may get some.
func superfluous(d *appsv1.Deployment, old []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	limit := d.Spec.RevisionHistoryLimit
	if limit == nil || *limit == math.MaxInt32 {
		return nil
	}
	var kept []*appsv1.ReplicaSet
	for _, rs := range old {
		if rs.DeletionTimestamp == nil {
			kept = append(kept, rs)
		}
	}
	excess := len(kept) - int(*limit)
	if excess <= 0 {
		return nil
	}
	slices.SortStableFunc(kept, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(cmp.Compare(revisionOf(a), revisionOf(b)), olderFirst(a, b))
	})
	return slices.DeleteFunc(kept[:excess], func(rs *appsv1.ReplicaSet) bool {
		return rs.Status.Replicas != 0 || *rs.Spec.Replicas != 0 || rs.Generation > rs.Status.ObservedGeneration
	})
}
