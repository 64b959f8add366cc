// Package objects gives the agent the ConfigMaps and Secrets that its Pods refer to, and tells when they change.
//
// Counterpart in Kubernetes: the kubelet's watch-based object managers.
//
//	Pods registered → one watch for each object they name (no others, as Kubernetes' Node authorizer wants it) → ConfigMap, Secret; changed(namespace)
//
// Until a new watch has caught up, an object is read directly, so that a Pod's start does not wait for it.
// Start with cache.go.
package objects
