package deployment

// recreate takes one step of the strategy Recreate: the old ReplicaSets go to 0, and only when all their Pods have ended
// does the new one get its replicas.
func (p *planner) recreate() {
	if old := active(p.old); len(old) > 0 {
		for _, rs := range old {
			p.resize(rs, 0)
		}
		return
	}
	if p.podsOfOld {
		return
	}
	p.createNewest()
	p.resize(p.newest, *p.deployment.Spec.Replicas)
	if complete(p.deployment, &p.deployment.Status) {
		p.cleanUp()
	}
}
