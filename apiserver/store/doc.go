// Package store keeps the cluster's objects: durable ones in a bbolt file, all of them in memory. Its Kubernetes
// counterpart is etcd together with the API server's watch cache (storage/cacher).
//
// In: Create, Update and Delete, each with the revision that the caller expects. Out: immutable Items, Snapshots of a
// resource, and Watchers that deliver every change after a revision, in order.
//
// A write goes this way:
//
//	Create ─► queue ─► committer: check against newest ─► one bbolt transaction, one sync ─► index, history ─► answer
//	                   (a batch of all waiting writes)                                          └─► watchers
//
// A write may have Companions that share its transaction: a Service and its IPAddresses.
//
// Nothing is visible before it is durable, and nothing is acknowledged before it is visible. Volatile resources take
// the same way in the caller's goroutine, without the queue and the disk.
//
// There is one revision counter for all resources, as in etcd. Because volatile writes take revisions without being
// recorded, the file holds a ceiling that the counter does not pass; a restart continues above it. The history of
// changes is in memory only, so a watch from before a restart gets ErrGone and its client lists anew.
//
// Start reading at store.go (Open), lane.go (how a batch is applied and published), committer.go (group commit), file.go
// (what is on disk), then snapshot.go, history.go and watch.go for the readers' side.
//
// Caveats: all objects are in memory. Reads see the last published batch, so a write that waits for the disk is not
// visible yet, not even to its own caller. A commit that fails half-way (disk full, I/O error) is reported to all writers of
// its batch, and the next commit first writes their keys again as readers see them. The file does not shrink.
// Deliberately missing: several servers on one store, compaction by time, leases on keys.
package store
