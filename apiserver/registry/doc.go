/*
Package registry is the table of the kinds that kubelite serves: one [Kind] each, with its defaults, validation,
warnings, allocation and printer columns. It is to kubelite what pkg/registry, pkg/apis and pkg/printers are to
Kubernetes.

Inputs are API objects (k8s.io/api) and, where a kind depends on others, [Config].Get. Outputs are the same objects,
filled in, or field errors in Kubernetes' words. Nothing here touches the store, the disk or the network.

Start reading at kind.go, which is the contract with the generic handlers, then kinds.go, the table, and configmap.go,
a small kind from end to end. A kind's files share its name: pod.go, pod_defaults.go, pod_columns.go, …

What is deliberately missing: feature-gated fields of Pods, Windows, volumes other than those that node agents mount
(their fields are kept, not checked), PriorityClasses and LimitRanges.

Caveats: which node ports are taken is known in memory only, after Loaded was called for every stored Service; which
ClusterIPs are, the stored IPAddress objects tell. It is Begin's finish function that gives both back. Unlike in Kubernetes, a
ServiceCIDR is ready at once, and an ExternalName Service that asks for a clusterIP does not show it in clusterIPs too.
*/
package registry
