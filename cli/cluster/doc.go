// Package cluster is the life of one cluster on one machine: its files, its processes, and how both are removed.
//
// A cluster's durable state is /var/lib/kubelite/NAME: cluster.json (this package's Config), server/ (the API server's store
// and keys), nodes/NODE/ (each agent's), logs/, kubeconfig. What does not survive a reboot is in /run/kubelite/NAME. Images
// are shared by all clusters in /var/lib/kubelite/images.
//
// Start reading at Cluster, then Up and Down. kind's `create cluster` and `delete cluster` are its counterparts.
//
// Caveats: there is no supervisor. A process that was killed is started again by the next Up, which starts only what is
// missing. Up and Down of one cluster exclude each other by a lock on its folder.
package cluster
