// Package volumes makes the volumes of a node's Pods: emptyDir, hostPath, configMap, secret, downwardAPI, projected (with
// service-account tokens).
//
// Counterpart in Kubernetes: the kubelet's volume manager and pkg/volume.
//
//	Pod + ConfigMaps, Secrets, tokens → payload (file name → content, mode) → a folder, replaced atomically → mounts for the runtime
//
// Content comes in a folder of its own, named by a symbolic link ..data that is swapped in one rename, as Kubernetes does: a reader
// sees all old or all new files. Start with volumes.go, payload.go and atomic.go.
//
// Secret content lies in the agent's run folder, below /run: where that is a tmpfs, as systemd makes it, it never
// reaches a disk. An emptyDir on disk lies in the agent's root folder; one of medium Memory is a tmpfs mounted there.
//
// Deliberately missing: persistent volumes, CSI, image volumes, cluster trust bundles, quotas for an emptyDir on disk.
package volumes
