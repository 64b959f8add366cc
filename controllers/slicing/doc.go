// Package slicing spreads the endpoints of a Service over EndpointSlices, for the controllers that write slices:
// endpointslice (from Pods) and endpointslicemirroring (from Endpoints written by hand).
//
// Plan is pure: from the wanted endpoints and the slices that exist to what is to be created, updated and deleted, with
// as few writes as possible and none when nothing changed. Slices is the other half: it reads the slices of a Service
// from the informer, knows its own writes before the informer shows them, and carries changes out.
package slicing
