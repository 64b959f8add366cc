// Package owner holds what ReplicaSets and Deployments share in owning their dependents: finding them by the
// controller reference, adopting orphans that the selector matches, and releasing those it no longer matches
// (Kubernetes' ControllerRef rules).
package owner
