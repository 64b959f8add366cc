// Package endpoint writes the Endpoints object of every Service with a selector: what EndpointSlices came after, and what
// `kubectl get endpoints` still shows.
//
// Its Kubernetes counterpart is the endpoints controller. In: Services, Pods, Endpoints. Out: Endpoints of the Services'
// names with at most 1000 addresses, deleted with their Service.
//
// Start reading at subsets.go, which is pure.
package endpoint
