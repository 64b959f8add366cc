package endpointslice

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/selection"
	"github.com/kubelite/kubelite/controllers/slicing"
)

const (
	managedBy = "endpointslice-controller.k8s.io"
	limit     = 100
)

// ownerOf is what all slices of a Service carry. Labels of the Service that slices use themselves are not taken over.
func ownerOf(service *corev1.Service) slicing.Owner {
	labels := maps.Clone(service.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	delete(labels, corev1.IsHeadlessService)
	if selection.Headless(service) {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[discoveryv1.LabelServiceName] = service.Name
	labels[discoveryv1.LabelManagedBy] = managedBy
	owner := slicing.Owner{
		Namespace: service.Namespace,
		Name:      service.Name,
		Reference: *metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service")),
		Labels:    labels,
		Limit:     limit,
	}
	for _, family := range selection.Families(service) {
		owner.Required = append(owner.Required, addressType(family))
	}
	return owner
}

func addressType(family corev1.IPFamily) discoveryv1.AddressType {
	if family == corev1.IPv6Protocol {
		return discoveryv1.AddressTypeIPv6
	}
	return discoveryv1.AddressTypeIPv4
}

// membersOf returns the endpoints of a Service among the Pods that it selects, oldest Pod first. nodes are their Nodes by
// name: a Pod on a Node that is gone is none, unless the Service publishes addresses that are not ready.
func membersOf(service *corev1.Service, pods []*corev1.Pod, nodes map[string]*corev1.Node) []slicing.Member {
	pods = slices.SortedFunc(slices.Values(pods), func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var members []slicing.Member
	for _, family := range selection.Families(service) {
		for _, pod := range pods {
			node := nodes[pod.Spec.NodeName]
			if !selection.HasEndpoint(pod) || node == nil && !service.Spec.PublishNotReadyAddresses {
				continue
			}
			endpoint := endpointOf(service, pod, node, addressType(family))
			if len(endpoint.Addresses) > 0 {
				members = append(members, slicing.Member{AddressType: addressType(family), Ports: portsOf(service, pod), Endpoint: endpoint})
			}
		}
	}
	return members
}

func endpointOf(service *corev1.Service, pod *corev1.Pod, node *corev1.Node, addressType discoveryv1.AddressType) discoveryv1.Endpoint {
	serving, terminating := selection.Ready(pod), pod.DeletionTimestamp != nil
	endpoint := discoveryv1.Endpoint{
		Addresses: addressesOf(pod, addressType),
		Conditions: discoveryv1.EndpointConditions{
			Ready:       ptr.To(service.Spec.PublishNotReadyAddresses || serving && !terminating),
			Serving:     ptr.To(serving),
			Terminating: ptr.To(terminating),
		},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		endpoint.NodeName = ptr.To(pod.Spec.NodeName)
	}
	if node != nil && node.Labels[corev1.LabelTopologyZone] != "" {
		endpoint.Zone = ptr.To(node.Labels[corev1.LabelTopologyZone])
	}
	if selection.HasHostname(pod, service) {
		endpoint.Hostname = ptr.To(pod.Spec.Hostname)
	}
	endpoint.Hints = hintsOf(service, &endpoint)
	return endpoint
}

// hintsOf says for which zones and nodes a ready endpoint is meant: its own, where the Service prefers what is near
// (KEP-2433, KEP-3015). The older annotation for topology-aware routing wins over spec.trafficDistribution.
func hintsOf(service *corev1.Service, endpoint *discoveryv1.Endpoint) *discoveryv1.EndpointHints {
	if !*endpoint.Conditions.Ready || topologyAware(service.Annotations) {
		return nil
	}
	var hints discoveryv1.EndpointHints
	switch ptr.Deref(service.Spec.TrafficDistribution, "") {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		if endpoint.NodeName != nil {
			hints.ForNodes = []discoveryv1.ForNode{{Name: *endpoint.NodeName}}
		}
	case corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferClose:
	default:
		return nil
	}
	if endpoint.Zone != nil {
		hints.ForZones = []discoveryv1.ForZone{{Name: *endpoint.Zone}}
	}
	if hints.ForNodes == nil && hints.ForZones == nil {
		return nil
	}
	return &hints
}

// topologyAware says whether the annotations ask for topology-aware routing.
func topologyAware(annotations map[string]string) bool {
	mode, asked := annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if !asked {
		mode = annotations[corev1.AnnotationTopologyMode]
	}
	return mode == "Auto" || mode == "auto"
}

func addressesOf(pod *corev1.Pod, wanted discoveryv1.AddressType) []string {
	all := pod.Status.PodIPs
	if len(all) == 0 {
		all = []corev1.PodIP{{IP: pod.Status.PodIP}}
	}
	addresses := []string{}
	for _, podIP := range all {
		address, err := netip.ParseAddr(podIP.IP)
		if err == nil && address.Is4() == (wanted == discoveryv1.AddressTypeIPv4) {
			addresses = append(addresses, address.String())
		}
	}
	return addresses
}

// portsOf are the Service's ports as numbers in the Pod. A port whose name the Pod does not have is left out.
func portsOf(service *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		if number, ok := selection.Port(pod, port); ok {
			ports = append(ports, discoveryv1.EndpointPort{
				Name: ptr.To(port.Name), Port: ptr.To(number), Protocol: ptr.To(port.Protocol), AppProtocol: port.AppProtocol,
			})
		}
	}
	return ports
}
