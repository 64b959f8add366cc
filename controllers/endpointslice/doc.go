// Package endpointslice writes the EndpointSlices of every Service with a selector: the addresses behind it.
//
// Its Kubernetes counterpart is the endpointslice controller. In: Services, Pods, Nodes, EndpointSlices. Out:
// EndpointSlices of at most 100 endpoints, one set for each address family and each distinct set of ports, written as
// soon as a Pod changes (no batching). A Service that selects nothing has an empty slice.
//
// Start reading at members.go, which is pure: which Pods are endpoints, in which condition. How endpoints are spread over
// slices is package slicing; slices of deleted Services go by their owner reference.
//
// Hints follow spec.trafficDistribution. Deliberately missing: the hints of the annotation service.kubernetes.io/topology-mode, which
// spread endpoints over zones by their nodes' CPUs.
package endpointslice
