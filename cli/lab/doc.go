// Package lab builds the network that a cluster lives in, out of network namespaces on one machine.
//
//	root namespace        CLUSTER-switch           CLUSTER-node-1
//	  uplink (if on) ───── bridge switch0 ───────── eth0 192.168.1.2
//	                       192.168.1.1    │        CLUSTER-node-2
//	                       (API server)   ├───────── eth0 192.168.1.3
//	                                      │        CLUSTER-laptop
//	                                      └───────── eth0 192.168.1.10
//
// It stands for the hardware of the textbooks' drawings and has no Kubernetes counterpart. In: a Network (addresses). Out:
// namespaces that `ip netns` lists, with links and addresses. What happens inside a node (Pods, routes, rules) is the
// agent's and the proxy's.
//
// Start reading at Network, then Network.Build and Remove.
//
// Caveats: the machine's root namespace gets nothing but the uplink's one veth. The switch is every host's gateway, but it knows
// the underlay only, so Pod and Service addresses are unreachable from the laptop, as in the textbooks. IPv4 only.
package lab
