// Package scheduler gives every Pod without a node one, through the Pods' binding subresource.
//
// Its Kubernetes counterpart is kube-scheduler with its default plugins. In: Pods, Nodes, Services from the shared
// informers. Out: bindings; for Pods that fit nowhere the condition PodScheduled=False, and Events (Scheduled,
// FailedScheduling) in kube-scheduler's words.
//
// Start reading at place.go: a pure function from a Pod and a picture of the nodes (cluster.go) to a node or a reason.
// filter.go says where a Pod can run at all (node name, cordon, taints, node affinity, host ports, resources),
// topology.go adds spread constraints and Pod (anti-)affinity, score.go says where it should rather run.
// controller.go is the loop: a decision is assumed in the picture at once, so that Pods created together do not
// overcommit a node, while the bindings are written by others. A Pod that fits nowhere waits until a Node or
// another Pod changes in a way that may help: nothing polls.
//
// Deliberately missing: preemption (a Pod of higher priority waits like any other; the message says what kube-scheduler
// says when preemption helps nowhere), volumes, resource claims. Scheduling gates are honoured, but not reported.
package scheduler
