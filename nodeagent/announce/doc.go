// Package announce makes load balancer addresses reachable from the underlay network: for each of them one node answers ARP.
//
// Its counterpart is MetalLB's speaker in layer 2 mode. In: Services with addresses in their status, Nodes, EndpointSlices, and
// the heartbeats of other nodes. Out: ARP replies and heartbeats on the node's underlay interface. The address is put on no
// interface: the frames that then come in are rewritten to an endpoint by the Service rules in PREROUTING before the kernel
// looks at whose address it was. Addresses that are a node's own are left to its kernel.
//
// Start reading at election.go, which is pure: every node's agent computes which node answers, from the same objects, by
// rendezvous hashing: when a node goes, only its addresses move. liveness.go, pure too, says which nodes are there: they
// broadcast a signed Ethernet frame (beat.go) every 400 ms, while there is an address that several nodes could answer for, and
// one that is silent for 1.3 s loses its addresses. The API server has no part in that: it may be slow, or gone. arp.go is the wire
// format, responder.go and herald.go the sockets, speaker.go brings all together. A node that becomes the announcer says so at
// once (gratuitous ARP, RFC 5227 §2.3), and all insist when a node comes back that was cut off.
//
// A recorded heartbeat is of no use to anybody: it counts once, and for 1.3 s by the machine's own clock, which all nodes share.
// A certificate that has expired still says whose heartbeat it is.
//
// Caveats: for a moment after a change of nodes two agents may both answer, or none, until both have seen it. A node whose
// frames get lost in one direction only may answer besides the one that took its addresses. Deliberately missing: IPv6 (NDP).
package announce
