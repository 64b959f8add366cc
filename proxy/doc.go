// Package proxy makes Services work on one node: what is sent to a ClusterIP, a node port or a load balancer's address
// reaches one of the Service's endpoints. Its Kubernetes counterpart is kube-proxy.
//
// Services and EndpointSlices are watched. Whatever changes marks its Service; one goroutine plans the marked Services
// (plan/: pure), programs the difference (a Backend: iptables/), and deletes connection-tracking entries that became
// wrong (conntrack/). There is no delay anywhere on that way: what arrives while the rules are written is written next,
// together. A UDP or TCP client needs a route to the ClusterIP, as to any address: a node without a default route must have
// one for the Service range, or its packets and those of its Pods are gone before a rule sees them.
//
// Every few seconds the backend looks whether the kernel still holds what it wrote; if someone else changed that, all
// rules are programmed again and the log says what was found. Rules stay when the process ends, however it ends, and the
// next one continues from them.
//
// Start reading at Run in run.go, then plan.Build, then iptables.Backend.
//
// Deliberately missing: IPv6; the other modes; health-check node ports are let through but nothing answers there;
// topology-aware routing.
//
// Caveats: a ClusterIP exists in rules only and does not answer ping; a node port is no listening socket.
package proxy
