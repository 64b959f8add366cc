// Package plan decides what a node's service proxy should do, without knowing how a kernel does it.
//
// Services, EndpointSlices and a few facts of the node go in; a Plan comes out: for every port of every Service the
// addresses it is reached at, who may reach it, and the endpoints that a new connection is spread over. It is the part of
// kube-proxy's proxy.ServicePortMap, proxy.EndpointsMap and proxy.CategorizeEndpoints that every mode shares.
//
// What plans depend on of an object is a tenth of it: ReadService and ReadSlice take that much (ServiceInput, SliceInput), so that
// a proxy needs not keep the objects; Ports plans from it. Build and Service do both at once.
//
// Everything here is a pure function. Start reading at Plan, then Ports and categorize.
//
// Caveats: of an endpoint's several addresses only the first counts, as for kube-proxy; addresses are taken as net/netip reads
// them, so one with leading zeros in its parts is passed over.
package plan
