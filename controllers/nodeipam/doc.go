// Package nodeipam gives every Node its part of the Pod network: spec.podCIDR.
//
// Its Kubernetes counterpart is the node IPAM controller with its range allocator. In: Nodes. Out: spec.podCIDR and
// spec.podCIDRs, once and for all; a range is free again when its Node is deleted. The Nodes themselves are the only
// record, so a restart forgets nothing.
//
// Start reading at ranges.go, which is pure. A Node named like kubelite's own (node-1, node-2, …) gets the range with its
// number if that is free, whatever the order of registration; every other Node the lowest free one.
//
// Deliberately missing: several cluster CIDRs, IPv6.
package nodeipam
