// Package nodeagent makes a machine (or a network namespace of one) a node: it registers the Node, runs the Pods that are assigned to it
// and serves their logs, exec, attach and port-forward.
//
// Counterpart in Kubernetes: the kubelet, together with the container runtime and the CNI plugin that it would call.
//
//	Nodes    → routes to the other nodes' Pods           (routes.go, network/)
//	Pods     → namespaces, containers, volumes, status   (pods/, runtime/, images/, volumes/, prober/, environment/, objects/)
//	machine  → Node, its status and its Lease            (node.go, nodestatus.go, machine.go)
//	API server's requests → streams                      (streaming/, logs/)
//
// Start with run.go, then pods/doc.go. Run can be stopped or killed at any time: containers go on, and the next Run adopts them.
//
// Deliberately missing: pressure conditions and eviction, static Pods, device plugins, CSI, metrics.
package nodeagent
