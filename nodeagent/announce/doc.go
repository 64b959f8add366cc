// Package announce makes load balancer addresses reachable from the underlay network: for each of them one node answers ARP.
//
// Its counterpart is MetalLB's speaker in layer 2 mode. In: Services with addresses in their status, Nodes, EndpointSlices.
// Out: ARP replies on the node's underlay interface. The address is put on no interface: the frames that then come in are
// rewritten to an endpoint by the Service rules in PREROUTING before the kernel looks at whose address it was.
//
// Start reading at election.go, which is pure: every node's agent computes which node answers, from the same objects and
// without talking to the others, by rendezvous hashing: when a node goes, only its addresses move. arp.go is the wire format,
// responder.go the socket. A node that becomes the announcer says so at once (gratuitous ARP, RFC 5227 §2.3).
//
// Caveats: for a moment after a change of nodes two agents may both answer, or none, until both have seen it. A node that
// dies without a word keeps its addresses until its Ready condition is Unknown. Deliberately missing: IPv6 (NDP).
package announce
