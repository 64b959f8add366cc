// Package dns is the cluster's name server: Services and Pods by name, after the Kubernetes DNS specification 1.1. Its
// Kubernetes counterpart is CoreDNS with the configuration that kubeadm gives it, and it runs as a Pod of the same name.
//
//	SERVICE.NAMESPACE.svc.cluster.local                  A, AAAA: ClusterIPs, or every ready endpoint of a headless Service;
//	                                                     CNAME of an ExternalName Service; SRV for all ports
//	_PORT._PROTOCOL.SERVICE.NAMESPACE.svc.cluster.local  SRV
//	ENDPOINT.SERVICE.NAMESPACE.svc.cluster.local         A, AAAA: one endpoint, by hostname or as 10-244-0-2
//	10-244-0-2.NAMESPACE.pod.cluster.local               A, AAAA: the address in the name, unchecked (CoreDNS: pods insecure)
//	dns-version.cluster.local                            TXT
//	10.0.96.10.in-addr.arpa                              PTR (IPv6: ip6.arpa): ClusterIPs, and endpoints that have a hostname
//
// All other names do not exist, which is said at once, or are forwarded where an upstream resolver is configured.
//
// An answer is a pure function of what is watched (records.go) and the question (answer.go); server.go puts it on the
// wire. Services and EndpointSlices are watched; Pods are not. When the API server is away, answers come from what was
// watched last. Start reading at zone.answer.
//
// Deliberately missing: zone transfers, a cache for forwarded answers.
package dns
