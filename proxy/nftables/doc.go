// Package nftables makes the kernel equal to a plan with maps of nf_tables: the number of rules does not depend on the number of
// Services. docs/nftables.md prints the whole ruleset of an example and explains it line by line. Its Kubernetes counterpart is
// kube-proxy's nftables mode, with a chain for each Service and each endpoint.
//
//	prerouting, output ─► services ─► @services: a chain for each kind of destination and number of endpoints
//	                                    └─► cluster-ip-5 ─► a random number, @endpoints ─► DNAT
//	input, forward, output ─► no-endpoints (refuse, drop)
//	input, postrouting ─► remember-client (session affinity)
//	postrouting ─► masquerade what is marked, or goes back to where it came from
//
// layout.go and chain.go write the rules, set.go the sets and maps: pure. destination.go and element.go turn a plan's ports into
// elements: pure. state.go is the index that finds what a change changes; it keeps no elements, only the plan. batch.go encodes
// netlink messages, one transaction for each change; connection.go sends them and reads. table.go compares what is there. Start
// reading at Backend, then layout.chains, then state.update.
//
// Everything is sent to the kernel directly, without a process of nft: a change takes well under a millisecond. The text that nft
// prints is tested (testdata).
//
// Deliberately missing: a client that uses both the ClusterIP and the node port of a Service with session affinity may be sent to
// different endpoints: it is remembered by the address that it called.
//
// Caveats:
//   - Where several Services claim an address and port, the first by name has it.
//   - The kernel looks for loops of chains whenever an element that leads to one comes, in all elements: a new Service, or one whose number
//     of endpoints changed, takes 1 ms more for every 10,000 Services. One whose endpoints move does not.
//   - The kernel reads out a map in time that grows with the square of its size. So Difference takes 0.2 s after a foreign change with
//     10,000 Services, and 5 s with 50,000, where a new process writes everything anew rather than reading it.
//   - Up to 2^20 clients are remembered; more are served without affinity.
//   - Connections keep the endpoint of their first packet, whatever changes.
//   - nft 1.0.6 prints everything, but cannot read "ct original proto-dst" in a concatenation: its output is to look at, not to load.
package nftables
