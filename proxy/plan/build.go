package plan

import (
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
	// Zone is the Node's label topology.kubernetes.io/zone; empty for a node without one.
	Zone string
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

// Service plans one Service with its slices: Ports of what ReadService and ReadSlice take from them.
func Service(service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, node Node) []Port {
	inputs := make([]*SliceInput, 0, len(endpointSlices))
	for _, slice := range endpointSlices {
		inputs = append(inputs, ReadSlice(slice))
	}
	return Ports(ReadService(service), inputs, node)
}

// Ports plans one Service with its slices: for each ClusterIP the Service's ports in their order. It is empty for a Service
// that needs no rules.
func Ports(service *ServiceInput, endpointSlices []*SliceInput, node Node) []Port {
	if len(service.frontends) == 0 {
		return nil
	}
	ports := make([]Port, 0, len(service.frontends)*len(service.ports))
	for i := range service.frontends {
		front := &service.frontends[i]
		for j := range service.ports {
			spec := &service.ports[j]
			ports = append(ports, Port{
				Name:                PortName{service.Name, spec.name},
				Protocol:            spec.protocol,
				ClusterIP:           front.clusterIP,
				Port:                spec.port,
				NodePort:            spec.nodePort,
				ExternalIPs:         front.externalIPs,
				LoadBalancerIPs:     front.loadBalancerIPs,
				SourceRanges:        front.sourceRanges,
				HealthCheckNodePort: service.HealthCheckNodePort,
				AffinitySeconds:     service.affinitySeconds,
				InternalLocal:       service.internalLocal,
				ExternalLocal:       service.externalLocal,
			})
			port := &ports[len(ports)-1]
			categorize(port, endpointsOf(spec, port.Family(), endpointSlices, node), node)
		}
	}
	return ports
}
