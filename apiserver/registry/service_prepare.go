package registry

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

func prepareService(service *corev1.Service) {
	service.Status = corev1.ServiceStatus{}
	if service.Spec.ClusterIP != "" && len(service.Spec.ClusterIPs) == 0 {
		service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	}
}

// prepareServiceUpdate lets an update leave out what the cluster has chosen, so that a manifest can be applied again,
// and drops what its new type no longer has.
func prepareServiceUpdate(service, old *corev1.Service) {
	service.Status = old.Status
	keepAllocated(&service.Spec, &old.Spec)
	syncClusterIPs(&service.Spec, &old.Spec)
	dropByType(&service.Spec, &old.Spec)
}

func keepAllocated(spec, old *corev1.ServiceSpec) {
	if hasClusterIPType(spec.Type) && hasClusterIPType(old.Type) {
		if spec.ClusterIP == "" {
			spec.ClusterIP = old.ClusterIP
		}
		if len(spec.ClusterIPs) == 0 && spec.ClusterIP == old.ClusterIP {
			spec.ClusterIPs = old.ClusterIPs
		}
	}
	if needsNodePorts(spec) && needsNodePorts(old) {
		keepNodePorts(spec, old)
	}
	if needsHealthCheckNodePort(spec) && needsHealthCheckNodePort(old) && spec.HealthCheckNodePort == 0 {
		spec.HealthCheckNodePort = old.HealthCheckNodePort
	}
}

// keepNodePorts finds a port's old node port by the port's name.
func keepNodePorts(spec, old *corev1.ServiceSpec) {
	used := map[int32]bool{}
	byName := map[string]int32{}
	for _, port := range spec.Ports {
		used[port.NodePort] = true
	}
	for _, port := range old.Ports {
		byName[port.Name] = port.NodePort
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if before := byName[port.Name]; port.NodePort == 0 && before != 0 && !used[before] {
			port.NodePort = before
			used[before] = true
		}
	}
}

// syncClusterIPs makes clusterIPs follow a changed clusterIP, its older, single form, unless both were changed.
func syncClusterIPs(spec, old *corev1.ServiceSpec) {
	if !slices.Equal(spec.ClusterIPs, old.ClusterIPs) && len(spec.ClusterIPs) > 0 {
		return
	}
	if spec.ClusterIP == old.ClusterIP && len(spec.ClusterIPs) > 0 {
		return
	}
	spec.ClusterIPs = nil
	if spec.ClusterIP != "" {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
}

// dropByType drops fields of the old type that the new type does not have and that the client did not set anew.
func dropByType(spec, old *corev1.ServiceSpec) {
	if hasClusterIPType(old.Type) && !hasClusterIPType(spec.Type) {
		if spec.ClusterIP == old.ClusterIP && slices.Equal(spec.ClusterIPs, old.ClusterIPs) {
			spec.ClusterIP, spec.ClusterIPs = "", nil
		}
		dropUnchanged(&spec.IPFamilies, old.IPFamilies)
		dropUnchanged(&spec.IPFamilyPolicy, old.IPFamilyPolicy)
		dropUnchanged(&spec.InternalTrafficPolicy, old.InternalTrafficPolicy)
	}
	if needsNodePorts(old) && !needsNodePorts(spec) && equality.Semantic.DeepEqual(nodePorts(spec), nodePorts(old)) {
		for i := range spec.Ports {
			spec.Ports[i].NodePort = 0
		}
	}
	if needsHealthCheckNodePort(old) && !needsHealthCheckNodePort(spec) {
		dropUnchanged(&spec.HealthCheckNodePort, old.HealthCheckNodePort)
	}
	if old.Type == corev1.ServiceTypeExternalName && spec.Type != corev1.ServiceTypeExternalName {
		dropUnchanged(&spec.ExternalName, old.ExternalName)
	}
	if old.Type == corev1.ServiceTypeLoadBalancer && spec.Type != corev1.ServiceTypeLoadBalancer {
		dropUnchanged(&spec.LoadBalancerClass, old.LoadBalancerClass)
		dropUnchanged(&spec.AllocateLoadBalancerNodePorts, old.AllocateLoadBalancerNodePorts)
	}
	if externallyAccessible(old) && !externallyAccessible(spec) {
		dropUnchanged(&spec.ExternalTrafficPolicy, old.ExternalTrafficPolicy)
	}
}

func dropUnchanged[T any](value *T, old T) {
	if equality.Semantic.DeepEqual(*value, old) {
		var zero T
		*value = zero
	}
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

func needsNodePorts(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort || (spec.Type == corev1.ServiceTypeLoadBalancer &&
		(spec.AllocateLoadBalancerNodePorts == nil || *spec.AllocateLoadBalancerNodePorts))
}

func needsHealthCheckNodePort(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeLoadBalancer && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}
