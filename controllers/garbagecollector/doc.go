// Package garbagecollector deletes objects whose owners are gone.
//
// Its Kubernetes counterpart is pkg/controller/garbagecollector. In: the metadata of the objects of every served kind but
// Events. Out: deletions of dependents (background), of owners once their dependents are gone (foreground), and owner
// references removed (orphan).
//
// graph.go knows who owns whom, as the informers show it, and says for every change what is to be looked at: it has no
// effects and its tests are tables. collect.go looks at one object, always at its live state, and acts; orphan.go lets
// dependents go. watch.go connects the graph to informers: to the shared ones of kinds that another controller watches
// anyway, and to ones of its own, of stripped metadata, for all others.
//
// Deliberately missing: kinds that come to be served after the start, and the Event OwnerRefInvalidNamespace.
package garbagecollector
