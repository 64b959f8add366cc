package registry

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
)

func prepareService(service *corev1.Service) {
	service.Status = corev1.ServiceStatus{}
	dropExternalNamePolicy(&service.Spec)
}

// prepareServiceUpdate drops what the new type no longer has.
func prepareServiceUpdate(service, old *corev1.Service) {
	service.Status = old.Status
	dropByType(&service.Spec, &old.Spec)
	dropExternalNamePolicy(&service.Spec)
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		service.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
}

// keepAllocated lets an update leave out what the cluster has chosen, so that a manifest can be applied again.
func keepAllocated(spec, old *corev1.ServiceSpec) {
	if needsClusterIP(spec) && needsClusterIP(old) {
		if spec.ClusterIP == "" {
			spec.ClusterIP = old.ClusterIP
		}
		if len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = slices.Clone(old.ClusterIPs)
		}
	}
	if allocatesNodePorts(spec) && allocatesNodePorts(old) {
		keepNodePorts(spec, old)
	}
	if needsHealthCheckNodePort(spec) && needsHealthCheckNodePort(old) && spec.HealthCheckNodePort == 0 {
		spec.HealthCheckNodePort = old.HealthCheckNodePort
	}
}

// keepNodePorts finds a port's old node port by the port's name, unless another port names it.
func keepNodePorts(spec, old *corev1.ServiceSpec) {
	used := nodePorts(spec)
	byName := map[string]int32{}
	for _, port := range old.Ports {
		byName[port.Name] = port.NodePort
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if before := byName[port.Name]; port.NodePort == 0 && !slices.Contains(used, before) {
			port.NodePort = before
		}
	}
}

// normalizeClusterIPs makes clusterIPs follow clusterIP, its older, single form, where a client speaks of that only. old is nil on
// create.
func normalizeClusterIPs(spec, old *corev1.ServiceSpec) {
	if old == nil {
		if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
		return
	}
	if len(spec.ClusterIPs) == 0 && spec.ClusterIP == old.ClusterIP {
		spec.ClusterIPs = slices.Clone(old.ClusterIPs)
	}
	if spec.ClusterIP == old.ClusterIP || !slices.Equal(spec.ClusterIPs, old.ClusterIPs) {
		return
	}
	spec.ClusterIPs = nil
	if spec.ClusterIP != "" {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
}

// dropByType drops fields of the old type that the new type does not have and that the client did not set anew.
func dropByType(spec, old *corev1.ServiceSpec) {
	if needsClusterIP(old) && !needsClusterIP(spec) {
		if spec.ClusterIP == old.ClusterIP && slices.Equal(spec.ClusterIPs, old.ClusterIPs) {
			spec.ClusterIP, spec.ClusterIPs = "", nil
		}
		dropUnchanged(&spec.IPFamilies, old.IPFamilies)
		dropUnchanged(&spec.IPFamilyPolicy, old.IPFamilyPolicy)
	}
	if hasNodePortType(old) && !hasNodePortType(spec) && !hasOtherThan(nodePorts(spec), nodePorts(old)) {
		for i := range spec.Ports {
			spec.Ports[i].NodePort = 0
		}
	}
	if needsHealthCheckNodePort(old) && !needsHealthCheckNodePort(spec) {
		dropUnchanged(&spec.HealthCheckNodePort, old.HealthCheckNodePort)
	}
	if old.Type == corev1.ServiceTypeLoadBalancer && spec.Type != corev1.ServiceTypeLoadBalancer {
		dropUnchanged(&spec.LoadBalancerClass, old.LoadBalancerClass)
		dropUnchanged(&spec.AllocateLoadBalancerNodePorts, old.AllocateLoadBalancerNodePorts)
	}
	if externallyAccessible(old) && !externallyAccessible(spec) {
		dropUnchanged(&spec.ExternalTrafficPolicy, old.ExternalTrafficPolicy)
	}
}

// dropExternalNamePolicy drops the traffic policy of a Service that has no traffic; Kubernetes does not show it. A wrong one stays,
// for validation.
func dropExternalNamePolicy(spec *corev1.ServiceSpec) {
	switch ptr.Deref(spec.InternalTrafficPolicy, "") {
	case corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal:
		if spec.Type == corev1.ServiceTypeExternalName {
			spec.InternalTrafficPolicy = nil
		}
	}
}

func dropUnchanged[T any](value *T, old T) {
	if equality.Semantic.DeepEqual(*value, old) {
		var zero T
		*value = zero
	}
}

// hasOtherThan reports whether some value is not among the known ones.
func hasOtherThan(values, known []int32) bool {
	return slices.ContainsFunc(values, func(value int32) bool { return !slices.Contains(known, value) })
}

// nodePorts are the set node ports, in the ports' order.
func nodePorts(spec *corev1.ServiceSpec) []int32 {
	var ports []int32
	for _, port := range spec.Ports {
		if port.NodePort != 0 {
			ports = append(ports, port.NodePort)
		}
	}
	return ports
}

// needsClusterIP is true for every type, known or not, but ExternalName; "None" counts as a ClusterIP.
func needsClusterIP(spec *corev1.ServiceSpec) bool {
	return spec.Type != corev1.ServiceTypeExternalName
}

// hasNodePortType reports whether Services of this type may have node ports.
func hasNodePortType(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer
}

// allocatesNodePorts reports whether ports without a node port get one.
func allocatesNodePorts(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort ||
		spec.Type == corev1.ServiceTypeLoadBalancer && ptr.Deref(spec.AllocateLoadBalancerNodePorts, true)
}

func needsHealthCheckNodePort(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeLoadBalancer && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}
