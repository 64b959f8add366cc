package deployment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// observation is all that a plan is made from. Nothing in it is changed.
type observation struct {
	deployment *appsv1.Deployment
	sets       []*appsv1.ReplicaSet // that the Deployment owns, in any order
	// podsOfOld says whether Pods of ReplicaSets other than that of the present template have not ended yet.
	// Only the strategy Recreate asks.
	podsOfOld bool
	now       time.Time
}

// plan is what one sync does to a Deployment. It is carried out in the order of its fields.
type plan struct {
	create   *appsv1.ReplicaSet   // the ReplicaSet of a new template, or nil
	change   []change             // ReplicaSets to update
	remove   []*appsv1.ReplicaSet // ReplicaSets too old for the history
	revision string               // of the Deployment, "" to leave it as it is
	status   appsv1.DeploymentStatus
	recheck  time.Duration // when the progress deadline may have passed, 0 for never
}

// change is a ReplicaSet to update, and how many replicas it had.
type change struct {
	set  *appsv1.ReplicaSet // a copy, changed
	from int32
}

// planner is a plan being made: it holds the ReplicaSets as they will be.
type planner struct {
	observation
	newest  *appsv1.ReplicaSet   // of the present template, nil if there is none
	old     []*appsv1.ReplicaSet // all others, the oldest first
	changed map[string]change    // by name
	plan    plan
}

// makePlan decides on the next step for a Deployment.
func makePlan(seen observation) plan {
	d := seen.deployment
	p := &planner{observation: seen, changed: make(map[string]change)}
	p.newest, p.old = split(d, seen.sets)
	p.plan.status = *d.Status.DeepCopy()
	switch {
	case d.DeletionTimestamp != nil:
		p.countReplicas()
		return p.finished()
	case d.Spec.Paused:
		p.notePause()
		p.keepRevision()
		p.scaleProportionally()
		p.cleanUp()
		p.countReplicas()
		return p.finished()
	}
	p.noteResume()
	p.keepRevision()
	switch {
	case p.wasScaled():
		p.scaleProportionally()
		p.countReplicas()
	case d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		p.recreate()
		p.countReplicas()
		p.noteProgress()
	default:
		p.roll()
		p.countReplicas()
		p.noteProgress()
	}
	return p.finished()
}

// finished gathers the changes in an order that does not depend on chance.
func (p *planner) finished() plan {
	for _, name := range slices.Sorted(maps.Keys(p.changed)) {
		p.plan.change = append(p.plan.change, p.changed[name])
	}
	return p.plan
}

// all returns every ReplicaSet of the Deployment, the newest last.
func (p *planner) all() []*appsv1.ReplicaSet {
	if p.newest == nil {
		return slices.Clone(p.old)
	}
	return append(slices.Clone(p.old), p.newest)
}

// edit returns a copy of rs that takes its place in the plan; the one to be created is returned as it is.
func (p *planner) edit(rs *appsv1.ReplicaSet) *appsv1.ReplicaSet {
	if rs == p.plan.create {
		return rs
	}
	if made, present := p.changed[rs.Name]; present {
		return made.set
	}
	made := change{set: rs.DeepCopy(), from: *rs.Spec.Replicas}
	if made.set.Annotations == nil {
		made.set.Annotations = make(map[string]string)
	}
	p.changed[rs.Name] = made
	if rs == p.newest {
		p.newest = made.set
	}
	if i := slices.Index(p.old, rs); i >= 0 {
		p.old[i] = made.set
	}
	return made.set
}

// resize scales rs and notes on it what size the Deployment had at that moment.
func (p *planner) resize(rs *appsv1.ReplicaSet, replicas int32) {
	noted := maps.Clone(rs.Annotations)
	if noted == nil {
		noted = make(map[string]string)
	}
	sizeAnnotated(p.deployment, noted)
	if *rs.Spec.Replicas == replicas && maps.Equal(noted, rs.Annotations) {
		return
	}
	edited := p.edit(rs)
	edited.Annotations = noted
	*edited.Spec.Replicas = replicas
}

// keepRevision gives the newest ReplicaSet, where there is one, the highest revision and what the Deployment passes on to
// it, and the Deployment that revision.
func (p *planner) keepRevision() {
	if p.newest == nil {
		return
	}
	d := p.deployment
	wanted := annotated(d, p.newest.Annotations, nextRevision(p.old))
	if !maps.Equal(wanted, p.newest.Annotations) || p.newest.Spec.MinReadySeconds != d.Spec.MinReadySeconds {
		edited := p.edit(p.newest)
		edited.Annotations = wanted
		edited.Spec.MinReadySeconds = d.Spec.MinReadySeconds
	}
	p.takeRevision(p.newest)
	if hasProgressDeadline(d) && condition(&p.plan.status, appsv1.DeploymentProgressing) == nil {
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "FoundNewReplicaSet",
			fmt.Sprintf("Found new replica set %q", p.newest.Name))
	}
}

func (p *planner) takeRevision(rs *appsv1.ReplicaSet) {
	if revision := rs.Annotations[revisionAnnotation]; p.deployment.Annotations[revisionAnnotation] != revision {
		p.plan.revision = revision
	}
}

// createNewest plans the ReplicaSet of a template that has none yet.
func (p *planner) createNewest() {
	if p.newest != nil {
		return
	}
	revision := nextRevision(p.old)
	p.newest = newReplicaSet(p.deployment, revision)
	p.plan.create = p.newest
	*p.newest.Spec.Replicas = p.roomForNewest()
	p.plan.revision = strconv.FormatInt(revision, 10)
	if hasProgressDeadline(p.deployment) {
		p.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetCreated",
			fmt.Sprintf("Created new replica set %q", p.newest.Name))
	}
}

func (p *planner) cleanUp() {
	p.plan.remove = superfluous(p.deployment, p.old)
}
