// Package plan decides what a node's service proxy should do, without knowing how a kernel does it.
//
// Services, EndpointSlices and a few facts of the node go in; a Plan comes out: for every port of every Service the
// addresses it is reached at, who may reach it, and the endpoints that a new connection is spread over. It is the part of
// kube-proxy's proxy.ServicePortMap, proxy.EndpointsMap and proxy.CategorizeEndpoints that every mode shares. The modes
// (iptables now; nftables, ipvs and userspace may follow) start from it.
//
// Everything here is a pure function. Start reading at Plan, then Build and Service.
//
// Deliberately missing: topology hints and traffic distribution (every ready endpoint counts as equally near), IPv6.
package plan
