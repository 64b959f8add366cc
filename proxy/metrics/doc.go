// Package metrics measures a node's service proxy under kube-proxy's names (pkg/proxy/metrics), so that dashboards and alerts for
// kube-proxy work for it too, and serves what it measured: /metrics, /proxyMode and /healthz.
//
// Every proxy has metrics of its own; nothing is global. Start reading at Metrics.
//
// Deliberately missing: the counters of packets that kube-proxy reads from nfacct and nftables counters, and what measures
// kube-proxy's own nftables chains and listeners: there is nothing like them here.
package metrics
