// Package prober asks containers whether they have started, are alive and are ready.
//
// Counterpart in Kubernetes: the kubelet's prober and pkg/probe.
//
//	Target (container, Pod IP) → one goroutine a probe → Result when the verdict changes, Unhealthy for each failure
//
// Start with prober.go (the rhythm: delays, periods, thresholds); each kind of probe has a file: http.go, tcp.go, exec.go, grpc.go.
// HTTP, TCP and gRPC probes are made from the agent's own network namespace, which is the node's.
//
// A first probe is made as soon as initialDelaySeconds have passed, without the kubelet's jitter after a restart. A first readiness or
// startup probe over the network is repeated for up to a second before it counts as failed, so that Ready comes quickly.
package prober
