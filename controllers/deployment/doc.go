// Package deployment rolls the Pod template of each Deployment out over ReplicaSets, one per revision.
//
// Its Kubernetes counterpart is pkg/controller/deployment. In: Deployments, ReplicaSets and Pods from the shared
// informers. Out: ReplicaSets created, scaled and deleted, Deployment status and its revision annotation, Events.
//
// Start reading at plan.go: what one sync does to a Deployment is computed as a value, from what is known of it and its
// ReplicaSets; rolling.go, recreate.go and proportional.go are its strategies, progress.go its conditions, history.go the
// revisions. controller.go gathers the input, apply.go carries the plan out. A sync takes one step; what the step brings
// about wakes the next.
//
// Deliberately missing: the rollback of extensions/v1beta1 (kubectl patches the template instead), and
// spec.podReplacementPolicy, which is alpha.
package deployment
