package announce

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// announcer returns the node that answers for address, of those given; empty if there are none. The order does not matter.
func announcer(address netip.Addr, nodes []string) string {
	if len(nodes) == 0 {
		return ""
	}
	return slices.MaxFunc(nodes, func(a, b string) int {
		return cmp.Or(cmp.Compare(weight(address, a), weight(address, b)), cmp.Compare(b, a))
	})
}

func weight(address netip.Addr, node string) uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(node))
	hash.Write(address.AsSlice())
	// FNV's high bits hardly depend on the last bytes: mix them (splitmix64's finalizer).
	sum := hash.Sum64()
	sum = (sum ^ sum>>30) * 0xbf58476d1ce4e5b9
	sum = (sum ^ sum>>27) * 0x94d049bb133111eb
	return sum ^ sum>>31
}

// addressesOf returns the load balancer addresses that the node is to answer for, sorted.
func addressesOf(node string, services []*corev1.Service, nodes []*corev1.Node, slicesOf func(service *corev1.Service) []*discoveryv1.EndpointSlice) []netip.Addr {
	able := ableNodes(nodes)
	var own []netip.Addr
	for _, service := range services {
		candidates := able
		if service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
			candidates = withEndpoint(able, slicesOf(service))
		}
		for _, address := range ingressAddresses(service) {
			if announcer(address, candidates) == node {
				own = append(own, address)
			}
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own)
}

// ingressAddresses are the IPv4 addresses in a Service's status that are to be delivered to nodes as they are.
func ingressAddresses(service *corev1.Service) []netip.Addr {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	var addresses []netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		address, err := netip.ParseAddr(ingress.IP)
		proxied := ingress.IPMode != nil && *ingress.IPMode == corev1.LoadBalancerIPModeProxy
		if err == nil && address.Is4() && !proxied {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// ableNodes are the names of the Ready nodes that are not kept away from load balancers by label.
func ableNodes(nodes []*corev1.Node) []string {
	var names []string
	for _, node := range nodes {
		_, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]
		ready := slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
			return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
		})
		if ready && !excluded {
			names = append(names, node.Name)
		}
	}
	return names
}

// withEndpoint keeps the nodes that have a ready endpoint in one of the slices.
func withEndpoint(nodes []string, endpointSlices []*discoveryv1.EndpointSlice) []string {
	has := map[string]bool{}
	for _, slice := range endpointSlices {
		for i := range slice.Endpoints {
			endpoint := &slice.Endpoints[i]
			if endpoint.NodeName != nil && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
				has[*endpoint.NodeName] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return !has[node] })
}
