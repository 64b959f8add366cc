package scheduler

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// refusal is why a node cannot take a Pod. final says that evicting Pods from the node would not help.
type refusal struct {
	reasons []string
	final   bool
}

func refuse(reason string) *refusal      { return &refusal{reasons: []string{reason}} }
func refuseFinal(reason string) *refusal { return &refusal{reasons: []string{reason}, final: true} }

// filters are asked in kube-scheduler's order; the first refusal is the node's.
var filters = []func(r *request, node *nodeState) *refusal{
	unschedulable, nodeName, taints, nodeAffinity, hostPorts, resources, spreadConstraints, podAffinity,
}

func unschedulable(r *request, node *nodeState) *refusal {
	cordon := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	if node.node.Spec.Unschedulable && !tolerates(r.pod.Spec.Tolerations, &cordon) {
		return refuseFinal("node(s) were unschedulable")
	}
	return nil
}

func nodeName(r *request, node *nodeState) *refusal {
	if r.pod.Spec.NodeName != "" && r.pod.Spec.NodeName != node.name {
		return refuseFinal("node(s) didn't match the requested node name")
	}
	return nil
}

func taints(r *request, node *nodeState) *refusal {
	for i := range node.node.Spec.Taints {
		taint := &node.node.Spec.Taints[i]
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(r.pod.Spec.Tolerations, taint) {
			return refuseFinal("node(s) had untolerated taint(s)")
		}
	}
	return nil
}

func tolerates(tolerations []corev1.Toleration, taint *corev1.Taint) bool {
	return slices.ContainsFunc(tolerations, func(toleration corev1.Toleration) bool {
		return toleration.ToleratesTaint(klog.Background(), taint, false)
	})
}

func nodeAffinity(r *request, node *nodeState) *refusal {
	if matches, err := r.requiredNodes.Match(node.node); err != nil || !matches {
		return refuseFinal("node(s) didn't match Pod's node affinity/selector")
	}
	return nil
}

// hostPort is a port of the node itself that a container wants. An empty address means all of them.
type hostPort struct {
	address  string
	protocol corev1.Protocol
	port     int32
}

func hostPortsOf(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	collect := func(container *corev1.Container) {
		for _, port := range container.Ports {
			if port.HostPort == 0 {
				continue
			}
			wanted := hostPort{address: port.HostIP, protocol: port.Protocol, port: port.HostPort}
			if wanted.address == "0.0.0.0" {
				wanted.address = ""
			}
			if wanted.protocol == "" {
				wanted.protocol = corev1.ProtocolTCP
			}
			ports = append(ports, wanted)
		}
	}
	for i := range pod.Spec.InitContainers {
		if isSidecar(&pod.Spec.InitContainers[i]) {
			collect(&pod.Spec.InitContainers[i])
		}
	}
	for i := range pod.Spec.Containers {
		collect(&pod.Spec.Containers[i])
	}
	return ports
}

func isSidecar(container *corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func (p hostPort) conflicts(other hostPort) bool {
	return p.port == other.port && p.protocol == other.protocol &&
		(p.address == other.address || p.address == "" || other.address == "")
}

func hostPorts(r *request, node *nodeState) *refusal {
	if len(r.hostPorts) == 0 {
		return nil
	}
	for _, other := range node.pods {
		for _, taken := range hostPortsOf(other.pod) {
			if slices.ContainsFunc(r.hostPorts, taken.conflicts) {
				return refuse("node(s) didn't have free ports for the requested pod ports")
			}
		}
	}
	return nil
}

func resources(r *request, node *nodeState) *refusal {
	allocatable := toAmounts(node.node.Status.Allocatable)
	var short refusal
	if pods, limited := allocatable[corev1.ResourcePods]; limited && int64(len(node.pods))+1 > pods {
		short.reasons = append(short.reasons, "Too many pods")
		short.final = pods == 0
	}
	for _, name := range r.resourceNames {
		wanted := r.requests[name]
		if wanted > allocatable[name]-node.used[name] {
			short.reasons = append(short.reasons, fmt.Sprintf("Insufficient %s", name))
			short.final = short.final || wanted > allocatable[name]
		}
	}
	if len(short.reasons) > 0 {
		return &short
	}
	return nil
}

// requiredNodeAffinity joins the Pod's nodeSelector and its required node affinity.
func requiredNodeAffinity(pod *corev1.Pod) nodeaffinity.RequiredNodeAffinity {
	return nodeaffinity.GetRequiredNodeAffinity(pod)
}
