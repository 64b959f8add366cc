// Package userspace is kube-proxy's first mode (Kubernetes 1.0 to 1.25): this process listens on a port for every Service
// port, iptables leads the Service's addresses to it, and it copies bytes between the client and an endpoint.
//
//	PREROUTING ─► KUBE-PORTALS-CONTAINER ─┐
//	           └► KUBE-NODEPORT-CONTAINER ┴─► REDIRECT to a proxy port ─► balancer ─► endpoint
//	OUTPUT     ─► KUBE-PORTALS-HOST ──────┐                 ▲
//	           └► KUBE-NODEPORT-HOST ─────┴─► DNAT ─────────┘
//	INPUT, FORWARD, OUTPUT ─► KUBE-PORTALS-FILTER: refuses what has no endpoints or was not led here, and drops what a firewall keeps out
//	INPUT      ─► KUBE-NODEPORT-NON-LOCAL: admits what was redirected from a node port
//
// A Service port has up to two proxy ports: one that spreads over all endpoints, one over those on this node. The rules
// choose between them (rules.go: pure). Endpoints are not in the rules: replacing one changes nothing in the kernel.
//
// Start reading at Backend, then balancer, tcpSocket and udpSocket.
//
// Deliberately missing: SCTP, which this process would have to speak; kube-proxy's listening sockets on node ports, which
// only reserved them.
//
// Caveats:
//   - An endpoint sees an address of the node, never the client's, whatever externalTrafficPolicy says.
//   - A client is accepted before an endpoint is: where all endpoints fail it sees a connection that is reset, not refused.
//   - Connections live in this process. They end with it, and when another mode takes over.
//   - Proxy ports are new ones in every process: Replace rewrites all rules of a former one.
package userspace
