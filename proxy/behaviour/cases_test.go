package behaviour

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// shape is everything that a Service's behaviour depends on, but its addresses.
type shape struct {
	kind          corev1.ServiceType
	internalLocal bool
	externalLocal bool
	sticky        bool
	endpoints     string // of endpointSets
	admits        string // of sourceRanges
}

// member is an endpoint: a Pod, or a Pod with its node's address. One that drains is terminating and serves still.
type member struct {
	place
	drains bool
	hint
}

// hint says for whom an endpoint is meant. Without a node or a zone that was not said.
type hint struct {
	forNode place
	forZone string
}

var endpointSets = withHinted(map[string][]member{
	"none":          nil,
	"own":           {{place: pod1a}},
	"other":         {{place: pod2a}},
	"both":          {{place: pod1a}, {place: pod2a}},
	"draining":      {{place: pod1a, drains: true}, {place: pod2a, drains: true}},
	"drainingOwn":   {{place: pod1a, drains: true}, {place: pod2a}},
	"hostNetwork":   {{place: node1}, {place: node2}},
	"hostNetwork-1": {{place: node1}},
	"every":         {{place: pod1a}, {place: pod2a}, {place: node1}, {place: node2}},
})

// hints are those that an endpoint on the node may have: PreferSameNode gives it a node and a zone, PreferSameZone a zone.
func hints(node place) map[string]hint {
	other := node.otherNode()
	return map[string]hint{
		"nobody": {}, "node": {node, node.zone()}, "othernode": {other, other.zone()}, "zone": {forZone: node.zone()}, "otherzone": {forZone: other.zone()},
	}
}

// hinted begins the names of endpointSets with hints.
const hinted = "hinted-"

// withHinted adds both endpoints with all hints, but for that without any.
func withHinted(sets map[string][]member) map[string][]member {
	for first, hint1 := range hints(node1) {
		for second, hint2 := range hints(node2) {
			if hint1 != (hint{}) || hint2 != (hint{}) {
				sets[hinted+first+"-"+second] = []member{{place: pod1a, hint: hint1}, {place: pod2a, hint: hint2}}
			}
		}
	}
	return sets
}

// sourceRanges are those of a load balancer.
var sourceRanges = map[string][]string{
	"all":    nil,
	"laptop": {"192.168.1.10/32", "fd00:c0::10/128"},
	"pods":   {"10.244.0.0/16", "fd00:f4::/48"},
}

// way is the kind of address that a client uses.
type way string

const (
	clusterIP         way = "ClusterIP"
	nodePortOwn       way = "node port of its node" // the laptop's is node-1
	nodePortOther     way = "node port of the other node"
	nodePortLocalhost way = "node port on 127.0.0.1"
	loadBalancerIP    way = "load balancer's address" // the laptop sends it to node-1
	externalIP        way = "external IP"             // the laptop sends it to node-1
)

// testCase is one row of the table.
type testCase struct {
	shape
	protocol corev1.Protocol
	family   corev1.IPFamily
	client   place
	way      way
}

func (c testCase) String() string {
	return fmt.Sprintf("%s %s %s from %s by %s", c.shape.name(), c.protocol, c.family, c.client, c.way)
}

// shapes are all of them. Hints decide between endpoints, by the traffic policies: they are tried for one type of Service, without
// what does not depend on the endpoints.
func shapes() []shape {
	var all []shape
	for _, kind := range []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer} {
		for _, internalLocal := range []bool{false, true} {
			for _, externalLocal := range []bool{false, true} {
				for _, sticky := range []bool{false, true} {
					for _, endpoints := range sorted(endpointSets) {
						for _, admits := range sorted(sourceRanges) {
							plain := kind == corev1.ServiceTypeLoadBalancer && !sticky && admits == "all"
							if (kind == corev1.ServiceTypeLoadBalancer || admits == "all") && (plain || !strings.HasPrefix(endpoints, hinted)) {
								all = append(all, shape{kind, internalLocal, externalLocal, sticky, endpoints, admits})
							}
						}
					}
				}
			}
		}
	}
	return all
}

// ways are those that the Service can be reached by from the place. 127.0.0.1 is not for IPv6.
func (s shape) ways(client place, family corev1.IPFamily) []way {
	ways := []way{clusterIP}
	if s.kind == corev1.ServiceTypeClusterIP {
		return append(ways, externalIP)
	}
	ways = append(ways, nodePortOwn, nodePortOther)
	if client.isNode() && family == corev1.IPv4Protocol {
		ways = append(ways, nodePortLocalhost)
	}
	if s.kind == corev1.ServiceTypeLoadBalancer {
		ways = append(ways, loadBalancerIP)
	}
	return ways
}

// clientPlaces are seen from pod-1a, the endpoint on node-1: the same Pod, the same node's Pod, the other node's Pod, the node, the
// other node, the laptop.
var clientPlaces = []place{pod1a, pod1b, pod2b, node1, node2, laptop}

// name is the name of the Service.
func (s shape) name() string {
	kinds := map[corev1.ServiceType]string{corev1.ServiceTypeClusterIP: "ip", corev1.ServiceTypeNodePort: "node", corev1.ServiceTypeLoadBalancer: "lb"}
	words := []string{kinds[s.kind], "in", policy(s.internalLocal), "ex", policy(s.externalLocal), strings.ToLower(s.endpoints)}
	if s.sticky {
		words = append(words, "sticky")
	}
	if s.admits != "all" {
		words = append(words, "for", s.admits)
	}
	return strings.Join(words, "-")
}

func policy(local bool) string {
	if local {
		return "local"
	}
	return "cluster"
}

const (
	servicePort  = 80
	endpointPort = 8080
)

// addresses of the i-th Service. Its node port is the same for all protocols.
func clusterIPOf(i int, family corev1.IPFamily) netip.Addr {
	return nth(family, "10.96.8.0", "fd00:60::800", i)
}

func externalIPOf(i int, family corev1.IPFamily) netip.Addr {
	return nth(family, "198.18.8.0", "fd00:cb::800", i)
}

func nodePortOf(i int) uint16 { return uint16(30000 + i) }

func nth(family corev1.IPFamily, four, six string, i int) netip.Addr {
	first := inFamily(family, four, six).AsSlice()
	last := len(first) - 1
	first[last-1] += byte(i >> 8)
	first[last] = byte(i)
	address, _ := netip.AddrFromSlice(first)
	return address
}

// target is what the client of the case calls, if the Service is the i-th.
func (c testCase) target(i int) netip.AddrPort {
	node := c.client.node()
	if node == "" {
		node = node1
	}
	switch c.way {
	case clusterIP:
		return netip.AddrPortFrom(clusterIPOf(i, c.family), servicePort)
	case nodePortOwn:
		return netip.AddrPortFrom(node.address(c.family), nodePortOf(i))
	case nodePortOther:
		return netip.AddrPortFrom(node.otherNode().address(c.family), nodePortOf(i))
	case nodePortLocalhost:
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), nodePortOf(i))
	}
	return netip.AddrPortFrom(externalIPOf(i, c.family), servicePort)
}

// service makes the i-th Service.
func (s shape) service(i int, protocols []corev1.Protocol, families []corev1.IPFamily) *corev1.Service {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: s.name()},
		Spec: corev1.ServiceSpec{
			Type:                  s.kind,
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
			InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster),
		},
	}
	spec := &service.Spec
	for _, protocol := range protocols {
		port := corev1.ServicePort{Name: strings.ToLower(string(protocol)), Protocol: protocol, Port: servicePort}
		if s.kind != corev1.ServiceTypeClusterIP {
			port.NodePort = int32(nodePortOf(i))
		}
		spec.Ports = append(spec.Ports, port)
	}
	for _, family := range families {
		spec.IPFamilies = append(spec.IPFamilies, family)
		spec.ClusterIPs = append(spec.ClusterIPs, clusterIPOf(i, family).String())
		switch s.kind {
		case corev1.ServiceTypeClusterIP:
			spec.ExternalIPs = append(spec.ExternalIPs, externalIPOf(i, family).String())
		case corev1.ServiceTypeLoadBalancer:
			service.Status.LoadBalancer.Ingress = append(service.Status.LoadBalancer.Ingress,
				corev1.LoadBalancerIngress{IP: externalIPOf(i, family).String()})
		}
	}
	spec.ClusterIP = spec.ClusterIPs[0]
	if len(families) > 1 {
		spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
	}
	spec.LoadBalancerSourceRanges = sourceRanges[s.admits]
	if s.internalLocal {
		spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	}
	if s.externalLocal {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		if s.kind == corev1.ServiceTypeLoadBalancer {
			spec.HealthCheckNodePort = int32(nodePortOf(i)) + 1000
		}
	}
	if s.sticky {
		spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	return service
}

// endpointSlice makes the Service's slice of the family.
func (s shape) endpointSlice(protocols []corev1.Protocol, family corev1.IPFamily) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: s.name() + "-" + strings.ToLower(string(family)),
			Labels: map[string]string{discoveryv1.LabelServiceName: s.name()}},
		AddressType: discoveryv1.AddressType(family),
	}
	for _, protocol := range protocols {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name: ptr.To(strings.ToLower(string(protocol))), Protocol: ptr.To(protocol), Port: ptr.To[int32](endpointPort)})
	}
	for _, member := range endpointSets[s.endpoints] {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{member.address(family).String()},
			NodeName:   ptr.To(string(member.node())),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(!member.drains), Serving: ptr.To(true), Terminating: ptr.To(member.drains)},
			Hints:      member.hint.hints(),
		})
	}
	// One that is neither ready nor draining is never used.
	slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
		Addresses: []string{pod1b.address(family).String()}, NodeName: ptr.To(string(node1)),
		Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(false), Terminating: ptr.To(false)},
	})
	return slice
}

// hints are the endpoint's; nil for none.
func (h hint) hints() *discoveryv1.EndpointHints {
	if h == (hint{}) {
		return nil
	}
	hints := &discoveryv1.EndpointHints{}
	if h.forNode != "" {
		hints.ForNodes = []discoveryv1.ForNode{{Name: string(h.forNode)}}
	}
	if h.forZone != "" {
		hints.ForZones = []discoveryv1.ForZone{{Name: h.forZone}}
	}
	return hints
}
