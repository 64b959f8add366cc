package deployment

import appsv1 "k8s.io/api/apps/v1"

// roll takes one step of a rolling update: the new ReplicaSet grows as far as the surge allows, or else the old ones
// shrink as far as what may be unavailable allows.
func (p *planner) roll() {
	p.createNewest()
	if p.plan.create != nil || p.growNewest() || p.shrinkOld() {
		return
	}
	if complete(p.deployment, &p.deployment.Status) {
		p.cleanUp()
	}
}

// growNewest scales the new ReplicaSet; it returns whether there was something to do.
func (p *planner) growNewest() bool {
	target := p.roomForNewest()
	if *p.newest.Spec.Replicas == target {
		return false
	}
	p.resize(p.newest, target)
	return true
}

// roomForNewest is the size that the new ReplicaSet may have now.
func (p *planner) roomForNewest() int32 {
	d, size := p.deployment, *p.newest.Spec.Replicas
	if !isRolling(d) || size >= *d.Spec.Replicas {
		return *d.Spec.Replicas
	}
	room := *d.Spec.Replicas + maxSurge(d) - wanted(p.all())
	if room <= 0 {
		return size
	}
	return size + min(room, *d.Spec.Replicas-size)
}

// shrinkOld scales the old ReplicaSets down; it returns whether any was.
//
// Of all Pods, spec.replicas - maxUnavailable must stay available, and a Pod of the new ReplicaSet that is not available
// yet is no reason for an old one to go: that is the most that may go. Unhealthy old Pods go first, since nobody misses
// them and they would hold the rollout up; then healthy ones, as many as are available beyond the minimum.
func (p *planner) shrinkOld() bool {
	d := p.deployment
	if wanted(p.old) == 0 {
		return false
	}
	minAvailable := *d.Spec.Replicas - maxUnavailable(d)
	newUnavailable := *p.newest.Spec.Replicas - p.newest.Status.AvailableReplicas
	allowed := wanted(p.all()) - minAvailable - newUnavailable
	if allowed <= 0 {
		return false
	}
	shrunk := int32(0)
	for _, rs := range active(p.old) {
		unhealthy := min(allowed-shrunk, *rs.Spec.Replicas-rs.Status.AvailableReplicas)
		if unhealthy > 0 {
			p.resize(rs, *rs.Spec.Replicas-unhealthy)
			shrunk += unhealthy
		}
	}
	// A ReplicaSet that was just scaled down may still count Pods that are about to go: those are not relied on.
	spare := sum(p.all(), func(rs *appsv1.ReplicaSet) int32 { return min(rs.Status.AvailableReplicas, *rs.Spec.Replicas) }) - minAvailable
	for _, rs := range active(p.old) {
		if healthy := min(spare, *rs.Spec.Replicas); healthy > 0 {
			p.resize(rs, *rs.Spec.Replicas-healthy)
			spare -= healthy
			shrunk += healthy
		}
	}
	return shrunk > 0
}

// isSaturated says whether the new ReplicaSet has everything that the Deployment asks for.
func isSaturated(d *appsv1.Deployment, newest *appsv1.ReplicaSet) bool {
	if newest == nil {
		return false
	}
	desired, known := count(newest, desiredReplicasAnnotation)
	return known && desired == *d.Spec.Replicas && *newest.Spec.Replicas == *d.Spec.Replicas &&
		newest.Status.AvailableReplicas == *d.Spec.Replicas
}
