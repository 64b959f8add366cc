// Package health answers what load balancers and machines ask a node's service proxy: whether the node has endpoints of a Service
// (a server at each Service's healthCheckNodePort) and whether the proxy does its work (/healthz and /livez). The answers are
// those of kube-proxy's pkg/proxy/healthcheck, byte for byte.
//
// Start reading at Proxy, then Services. Nothing here knows of a kernel's rules; the proxy tells what it did.
package health
