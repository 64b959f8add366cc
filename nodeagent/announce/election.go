package announce

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"

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

// addressesOf returns the load balancer addresses that the node is to answer for while the nodes named alive are there, sorted.
func addressesOf(node string, services []*corev1.Service, nodes []*corev1.Node, alive []string, slicesOf func(service *corev1.Service) []*discoveryv1.EndpointSlice) []netip.Addr {
	kernels := kernelAddresses(nodes)
	var own []netip.Addr
	for _, service := range services {
		addresses := ingressAddresses(service, kernels)
		if len(addresses) == 0 {
			continue
		}
		candidates := alive
		if local(service) {
			candidates = withEndpoint(alive, slicesOf(service))
		}
		for _, address := range addresses {
			if announcer(address, candidates) == node {
				own = append(own, address)
			}
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own)
}

func local(service *corev1.Service) bool {
	return service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// addressesOfAll are the load balancer addresses that some node is to answer for.
func addressesOfAll(services []*corev1.Service, nodes []*corev1.Node) []netip.Addr {
	kernels := kernelAddresses(nodes)
	var all []netip.Addr
	for _, service := range services {
		all = append(all, ingressAddresses(service, kernels)...)
	}
	return all
}

// kernelAddresses are the nodes' own addresses: their kernels answer for them, also where they are a load balancer's.
func kernelAddresses(nodes []*corev1.Node) map[netip.Addr]bool {
	kernels := map[netip.Addr]bool{}
	for _, node := range nodes {
		for _, candidate := range node.Status.Addresses {
			if address, err := netip.ParseAddr(candidate.Address); err == nil {
				kernels[address] = true
			}
		}
	}
	return kernels
}

// ingressAddresses are the IPv4 addresses in a Service's status that are to be delivered to nodes as they are, but those that
// the kernel of a node answers for.
func ingressAddresses(service *corev1.Service, kernels map[netip.Addr]bool) []netip.Addr {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	var addresses []netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		address, err := netip.ParseAddr(ingress.IP)
		proxied := ingress.IPMode != nil && *ingress.IPMode == corev1.LoadBalancerIPModeProxy
		if err == nil && address.Is4() && !proxied && !kernels[address] {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// ableNodes are the names of the Ready nodes that are not kept away from load balancers by label, sorted.
func ableNodes(nodes []*corev1.Node) []string {
	var names []string
	for _, node := range nodes {
		ready := slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
			return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
		})
		if ready && !excluded(node) {
			names = append(names, node.Name)
		}
	}
	slices.Sort(names)
	return names
}

// excluded says whether the label that keeps load balancers away is there, unless it says "false", as Kubernetes has it.
func excluded(node *corev1.Node) bool {
	value, labelled := node.Labels[corev1.LabelNodeExcludeBalancers]
	keep, err := strconv.ParseBool(value)
	return labelled && (err != nil || keep)
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
