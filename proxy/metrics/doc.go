// Package metrics measures a node's service proxy under kube-proxy's names (pkg/proxy/metrics), so that dashboards and alerts for
// kube-proxy work for it too, and serves what it measured: /metrics, /proxyMode and /healthz.
//
// Every proxy has metrics of its own; nothing is global. Start reading at Metrics.
//
// Deliberately missing of what kube-proxy 1.37 has: the packets that its rules count (nfacct and nftables counters), which no rule
// counts here; failures to delete stale nftables chains, of which there are none; the listeners of node ports on localhost; and what
// all components of Kubernetes tell of their version, client and feature gates. docs/proxy-modes.md has the names.
package metrics
