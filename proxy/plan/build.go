package plan

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// LabelServiceProxyName on a Service or an EndpointSlice leaves it to another proxy than the cluster's own.
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// Node is what a plan depends on besides the API's objects.
type Node struct {
	// Name is the Node's name: endpoints with this nodeName are local.
	Name string
}

// Build plans all Services. Slices are matched to Services by namespace and the kubernetes.io/service-name label.
func Build(services []*corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, node Node) Plan {
	byService := map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for _, slice := range endpointSlices {
		if name, ok := ServiceOf(slice); ok {
			byService[name] = append(byService[name], slice)
		}
	}
	plan := Plan{}
	for _, service := range services {
		name := types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
		if ports := Service(service, byService[name], node); len(ports) > 0 {
			plan[name] = ports
		}
	}
	return plan
}

// ServiceOf is the Service that a slice belongs to; false if it belongs to none.
func ServiceOf(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	return types.NamespacedName{Namespace: slice.Namespace, Name: name}, name != ""
}

// Service plans one Service with its slices, in the order of its ports. It is empty for a Service without a ClusterIP
// and for one that another proxy serves. Addresses that are not IPv4 are passed over.
func Service(service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, node Node) []Port {
	clusterIP, ok := parseIPv4(service.Spec.ClusterIP)
	if !ok || service.Spec.Type == corev1.ServiceTypeExternalName || service.Labels[LabelServiceProxyName] != "" {
		return nil
	}
	common := Port{
		ClusterIP:       clusterIP,
		ExternalIPs:     externalIPs(service),
		LoadBalancerIPs: loadBalancerIPs(service),
		AffinitySeconds: affinitySeconds(service),
		InternalLocal:   isLocal(service.Spec.InternalTrafficPolicy),
	}
	common.ExternalLocal = service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if common.ExternalLocal && service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		common.HealthCheckNodePort = uint16(service.Spec.HealthCheckNodePort)
	}
	if len(common.LoadBalancerIPs) > 0 {
		common.SourceRanges = sourceRanges(service)
	}
	ports := make([]Port, 0, len(service.Spec.Ports))
	for i := range service.Spec.Ports {
		spec := &service.Spec.Ports[i]
		port := common
		port.Name = PortName{types.NamespacedName{Namespace: service.Namespace, Name: service.Name}, spec.Name}
		port.Protocol = spec.Protocol
		if port.Protocol == "" {
			port.Protocol = corev1.ProtocolTCP
		}
		port.Port = uint16(spec.Port)
		if service.Spec.Type == corev1.ServiceTypeNodePort || service.Spec.Type == corev1.ServiceTypeLoadBalancer {
			port.NodePort = uint16(spec.NodePort)
		}
		categorize(&port, endpointsOf(spec, endpointSlices, node))
		ports = append(ports, port)
	}
	return ports
}

func isLocal(policy *corev1.ServiceInternalTrafficPolicy) bool {
	return policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal
}

func affinitySeconds(service *corev1.Service) int32 {
	if service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	config := service.Spec.SessionAffinityConfig
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return corev1.DefaultClientIPServiceAffinitySeconds
	}
	return *config.ClientIP.TimeoutSeconds
}

func externalIPs(service *corev1.Service) []netip.Addr {
	var addresses []netip.Addr
	for _, text := range service.Spec.ExternalIPs {
		if address, ok := parseIPv4(text); ok && !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// loadBalancerIPs leaves out ingress with ipMode Proxy (KEP-1860): such a load balancer wants to see the traffic itself.
func loadBalancerIPs(service *corev1.Service) []netip.Addr {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	var addresses []netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if ingress.IPMode != nil && *ingress.IPMode == corev1.LoadBalancerIPModeProxy {
			continue
		}
		if address, ok := parseIPv4(ingress.IP); ok && !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// sourceRanges is empty when one of the ranges admits everyone.
func sourceRanges(service *corev1.Service) []netip.Prefix {
	var ranges []netip.Prefix
	for _, text := range service.Spec.LoadBalancerSourceRanges {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || !prefix.Addr().Is4() {
			continue
		}
		if prefix.Bits() == 0 {
			return nil
		}
		ranges = append(ranges, prefix.Masked())
	}
	return ranges
}

func parseIPv4(text string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(text)
	return address, err == nil && address.Is4()
}
