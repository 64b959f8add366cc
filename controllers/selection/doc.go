// Package selection holds what Endpoints and EndpointSlices share on the way from a Service to its Pods: which Services
// select a Pod, when a changed Pod matters to them, which Pods are endpoints at all, which port a Service port means in
// a Pod, and since when the change has been waiting to be written.
//
// Its Kubernetes counterpart is k8s.io/endpointslice/util. Everything but TriggerTimes, Index and the handlers of
// events is pure. Index keeps the work for a changed Pod the same, however many Services and Pods a namespace has.
package selection
