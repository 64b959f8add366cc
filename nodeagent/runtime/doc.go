// Package runtime runs containers: runc creates them, conmon holds their output and exit code, overlayfs joins image layers and a
// writable one. It is to the agent what CRI-O or containerd is to the kubelet.
//
// Inputs are image layers (images.Image), what a Pod asks (SandboxConfig, ContainerConfig) and the node's Pod network
// (network.Node). Outputs are processes, namespaces, mounts and control groups:
//
//	RootDir/containers/ID/  container.json  upper/ work/     the record and the writable layer; outlive a reboot
//	RunDir/containers/ID/   config.json rootfs/ pid exit/ …  the OCI bundle; conmon's files and sockets
//	RunDir/sandboxes/UID/   sandbox.json ipc uts shm/        a Pod's pinned namespaces
//	RunDir/runc/                                             runc's own state
//	/run/netns/PREFIX-pod-UID                                a Pod's network namespace, in `ip netns`
//	CgroupParent/podUID/ID, CgroupParent/conmon              control groups, in v1 hierarchies or in v2
//
// Start reading at Runtime (the contract), then Host, start.go and exit.go. The host keeps records in memory; the disk is read once, by
// New, which adopts what it finds: conmon and the container do not notice that an agent has gone. An exit is known by conmon's own end
// (a pidfd), after which its exit file is there. A process is named by PID *and* start time, so that a reused PID is none.
//
// Deliberately missing: log rotation, shared PID namespaces, user namespaces, AppArmor and SELinux labels, checkpointing, systemd
// as cgroup driver. Seccomp is off unless SeccompRuntimeDefault is asked for, as in a kubelet without SeccompDefault.
//
// Caveats: the process must be in the node's network namespace and the machine's mount namespace. Without conmon (killed by hand) a
// container goes on, its exit code is not known any more and counts as 137.
package runtime
