// Package namespace empties namespaces that are being deleted, and then lets them go.
//
// Its Kubernetes counterpart is pkg/controller/namespace. In: Namespaces and the end of Pods from the shared informers,
// the served kinds. Out: everything in a terminating namespace deleted, kind by kind; its conditions while something
// remains; in the end its finalizer "kubernetes" removed through the finalize subresource.
//
// Start reading at controller.go: sync; content.go deletes, conditions.go words what remains.
//
// Pods go first, and nothing else before they have ended (KEP-5080), so that what they need outlives them. The end of
// the last Pod is an event; other content that outlasts its deletion (finalizers) is looked at again every second.
package namespace
