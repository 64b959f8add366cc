package deployment

import (
	"cmp"
	"math"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
)

// wasScaled says whether the Deployment's replicas changed since its ReplicaSets were last scaled.
func (p *planner) wasScaled() bool {
	return slices.ContainsFunc(active(p.all()), func(rs *appsv1.ReplicaSet) bool {
		desired, known := count(rs, desiredReplicasAnnotation)
		return known && desired != *p.deployment.Spec.Replicas
	})
}

// scaleProportionally brings the ReplicaSets to the Deployment's size without pushing a rollout on: where both old and new
// ones have Pods, each gets its share of the difference, so that a faulty template does not gain ground by scaling.
func (p *planner) scaleProportionally() {
	d := p.deployment
	if only := p.onlyActiveOrLatest(); only != nil {
		p.resize(only, *d.Spec.Replicas)
		return
	}
	if isSaturated(d, p.newest) {
		for _, rs := range active(p.old) {
			p.resize(rs, 0)
		}
		return
	}
	if !isRolling(d) {
		return
	}
	sets := active(p.all())
	allowed := int32(0)
	if *d.Spec.Replicas > 0 {
		allowed = *d.Spec.Replicas + maxSurge(d)
	}
	toAdd := allowed - wanted(sets)
	sizes := proportions(d, sets, toAdd)
	for i, rs := range sets {
		p.resize(rs, sizes[i])
	}
}

// onlyActiveOrLatest returns the one ReplicaSet with Pods, or the newest if none has any; nil if several have, or there
// is none at all.
func (p *planner) onlyActiveOrLatest() *appsv1.ReplicaSet {
	all := p.all()
	switch running := active(all); {
	case len(running) == 1:
		return running[0]
	case len(running) > 1 || len(all) == 0:
		return nil
	default:
		return all[len(all)-1]
	}
}

// proportions sorts sets, the largest first, and returns the size that each is to have so that toAdd Pods (fewer than 0: to
// remove) are spread over them by size. What rounding leaves over goes to the first. Of equally large ones newer grow and
// older shrink first.
func proportions(d *appsv1.Deployment, sets []*appsv1.ReplicaSet, toAdd int32) []int32 {
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		age := olderFirst(a, b)
		if toAdd > 0 {
			age = -age
		}
		return cmp.Or(cmp.Compare(*b.Spec.Replicas, *a.Spec.Replicas), age)
	})
	sizes := make([]int32, len(sets))
	added := int32(0)
	for i, rs := range sets {
		share := int32(0)
		switch {
		case toAdd > 0:
			share = min(fraction(d, rs), toAdd-added)
		case toAdd < 0:
			share = max(fraction(d, rs), toAdd-added)
		}
		sizes[i] = *rs.Spec.Replicas + share
		added += share
	}
	if len(sizes) > 0 {
		sizes[0] = max(sizes[0]+toAdd-added, 0)
	}
	return sizes
}

// fraction is by how much rs, which has Pods, changes if it keeps its share of the Deployment.
func fraction(d *appsv1.Deployment, rs *appsv1.ReplicaSet) int32 {
	size := *rs.Spec.Replicas
	if *d.Spec.Replicas == 0 {
		return -size
	}
	before, known := count(rs, maxReplicasAnnotation)
	if !known || before == 0 {
		before = d.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	after := *d.Spec.Replicas + maxSurge(d)
	return int32(math.Round(float64(size)*float64(after)/float64(before))) - size
}
