// Package nodelifecycle notices Nodes that are no longer heard of and keeps Pods away from, and off, Nodes that are not
// ready.
//
// Its Kubernetes counterparts are the node lifecycle and the taint eviction controllers. In: Nodes, Pods, and the Leases in
// kube-node-lease that agents renew. Out: Node conditions set to Unknown when a Node was silent for the grace period; the
// node.kubernetes.io/… taints that follow from conditions and cordons; Pods on such Nodes marked not ready, so that
// endpoints drop them, and deleted when they do not tolerate the Node's NoExecute taints, or no longer; Events.
//
// Start reading at health.go (is a Node heard of), taints.go (which taints follow) and eviction.go (how long may a Pod
// stay); all are pure. controller.go is the loop over Nodes: one timer a Node, no polling.
//
// Silence is measured by this process's own clock from when it saw the last sign of life: clocks of nodes do not matter, and
// after a restart every Node has the whole grace period again.
//
// Deliberately missing: zones, and slower eviction when many Nodes go at once.
package nodelifecycle
