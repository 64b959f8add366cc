// Package streaming is the agent's HTTPS server: logs, exec, attach and port-forward, for the API server only.
//
// Counterpart in Kubernetes: the kubelet's server.
//
//	API server ──TLS, client certificate──► /containerLogs /exec /attach /portForward ──► Pods (who runs) and Runtime (what it does)
//
// exec, attach and port-forward speak SPDY and WebSocket (v4 and, for exec and attach, v5.channel.k8s.io; SPDY within WebSocket for
// port-forward). Start with server.go; each path has a file.
//
// Deliberately missing: /stats, /metrics, /runningpods, /configz.
package streaming
