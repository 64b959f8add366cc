// Package proxy makes Services work on one node: what is sent to a ClusterIP, a node port or a load balancer's address
// reaches one of the Service's endpoints. Its Kubernetes counterpart is kube-proxy.
//
//	Services, EndpointSlices, the own Node ── watch.go ──► objects.go: what plans depend on, and which Services changed
//	                                                          │ wake
//	programmer.go, one goroutine: plan/ (pure) ──► family.go, one for IPv4, one for IPv6 ──► backend/: iptables/, nftables/, ipvs/, userspace/
//	                                                   └──► conntrack/, health/, metrics/
//
// Whatever changes marks its Service; one goroutine plans the marked Services and programs the difference. There is no delay anywhere
// on that way: what arrives while the rules are written is written next, together. Of the objects only what plans depend on is kept.
// Connection-tracking entries that became wrong are deleted beside it.
//
// Every second the backend looks whether the kernel still holds what it wrote; if someone else changed that, all rules are programmed
// again and the log says what was found. What goes wrong is tried again, for each family by itself. Rules stay when the process ends,
// however it ends, and the next one continues from them; told to end, it first finishes what it writes. When everything works in one
// mode, what the other modes left is removed; connections go on, since connection tracking holds their translation.
//
// IPv6 is served where the node has an IPv6 address (Config.NodeIPs). A client needs a route to the ClusterIP, as to any address: a
// node without a default route must have one for the Service range, or its packets and those of its Pods are gone before a rule sees
// them.
//
// Start reading at Run in run.go, then programmer.run, plan.Ports and a Backend.
//
// Deliberately missing: telling Pods from others by anything but their addresses (kube-proxy's other detect-local modes).
//
// Caveats: a ClusterIP exists in rules only (in mode ipvs on a link, too) and does not answer ping; a node port is no listening
// socket.
package proxy
