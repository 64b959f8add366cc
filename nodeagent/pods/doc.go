// Package pods makes a node's Pods run: the agent's heart. Counterpart in Kubernetes: the kubelet's pod workers, kuberuntime,
// status manager and image manager.
//
//	Pods of this node (informer) ─┐                                   ┌─► runtime, images, volumes, probes
//	exits, probes, timers ────────┼─► worker ─► computeActions ─► do ─┤
//	what runs (runtime.Runtime) ──┘      └────► computeStatus ────────┴─► pods/status, events
//
// There is one goroutine a Pod, the worker. Whatever happens only wakes it; it then looks at everything anew. So a lost wake-up, a
// restarted agent and a normal start are the same thing. What to do (actions.go) and what to say (status.go) are pure functions of the
// Pod and of what was observed (observed.go); everything else carries out.
//
// Read actions.go, status.go, then worker.go (the loop), start.go and stop.go (effects), loop.go (from the API to workers).
//
// Deliberately missing: hostPID, hostIPC and shareProcessNamespace (refused in an event), static Pods, in-place resize, ephemeral
// containers, eviction by pressure, image garbage collection.
//
// Caveats: an image that is on the machine is used as it is even with imagePullPolicy Always, so that a classroom works offline.
// Crash-loop back-off starts anew with the agent, as the kubelet's does.
package pods
