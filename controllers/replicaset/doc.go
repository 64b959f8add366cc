// Package replicaset keeps as many Pods alive as each ReplicaSet asks for.
//
// Its Kubernetes counterpart is pkg/controller/replicaset. In: ReplicaSets and Pods from the shared informers. Out: Pods
// created and deleted, owner references set and removed, ReplicaSet status, Events.
//
// Start reading at controller.go: sync. What should be is decided by pure functions: scale.go (how many Pods, which of
// them go first) and status.go. expectations.go keeps a sync from acting twice on what its cache has not shown it yet.
//
// Caveat: a ReplicaSet deals with at most 500 Pods a sync, as in Kubernetes.
package replicaset
