// Package endpointslicemirroring copies Endpoints that somebody wrote by hand, for a Service without a selector, into
// EndpointSlices: proxies read nothing else.
//
// Its Kubernetes counterpart is the endpointslicemirroring controller. In: Services, Endpoints, EndpointSlices. Out:
// EndpointSlices, one for each subset and address family, with at most 1000 endpoints. Endpoints with the label
// endpointslice.kubernetes.io/skip-mirror=true, and those that hold a leader election, are left alone.
//
// Start reading at mirror.go, which is pure.
package endpointslicemirroring
