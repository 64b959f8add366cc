package plan

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// hinted is an EndpointSlice whose endpoints are given as "ADDRESS NODE STATE [nodes=A,B] [zones=A,B]"; the states are those
// of TestEndpointsByTrafficPolicy.
func hinted(t *testing.T, endpoints ...string) *discoveryv1.EndpointSlice {
	t.Helper()
	slice := parse[discoveryv1.EndpointSlice](t, "{addressType: IPv4, ports: [{port: 8080}]}")
	for _, text := range endpoints {
		fields := strings.Fields(text)
		state := fields[2]
		endpoint := parse[discoveryv1.Endpoint](t, fmt.Sprintf("{addresses: [%s], nodeName: %s, conditions: {ready: %v, serving: %v, terminating: %v}}",
			fields[0], fields[1], state == "r", strings.Contains("rs", state), strings.Contains("st", state)))
		for _, field := range fields[3:] {
			if endpoint.Hints == nil {
				endpoint.Hints = &discoveryv1.EndpointHints{}
			}
			key, names, _ := strings.Cut(field, "=")
			for name := range strings.SplitSeq(names, ",") {
				if key == "nodes" {
					endpoint.Hints.ForNodes = append(endpoint.Hints.ForNodes, discoveryv1.ForNode{Name: name})
				} else {
					endpoint.Hints.ForZones = append(endpoint.Hints.ForZones, discoveryv1.ForZone{Name: name})
				}
			}
		}
		slice.Endpoints = append(slice.Endpoints, *endpoint)
	}
	return slice
}

func TestHints(t *testing.T) {
	const local = "{type: NodePort, externalTrafficPolicy: Local}"
	for _, test := range []struct {
		about, service, zone string
		endpoints            []string
		cluster, local       string
		draining             string
	}{
		{"no hints", "{}", "za", []string{"10.0.0.1 node-1 r", "10.0.0.2 node-2 r"}, "10.0.0.1 10.0.0.2", "", ""},
		{"own zone", "{}", "za", []string{"10.0.0.1 node-2 r zones=za", "10.0.0.2 node-2 r zones=zb"}, "10.0.0.1", "", "10.0.0.2"},
		{"an endpoint for two zones", "{}", "za", []string{"10.0.0.1 node-2 r zones=zb,za", "10.0.0.2 node-2 r zones=zb"}, "10.0.0.1", "", "10.0.0.2"},
		{"no endpoint for the zone", "{}", "zc", []string{"10.0.0.1 node-2 r zones=za", "10.0.0.2 node-2 r zones=zb"}, "10.0.0.1 10.0.0.2", "", ""},
		{"a node without a zone", "{}", "", []string{"10.0.0.1 node-2 r zones=za", "10.0.0.2 node-2 r zones=zb"}, "10.0.0.1 10.0.0.2", "", ""},
		{"one endpoint without a hint", "{}", "za", []string{"10.0.0.1 node-2 r zones=za", "10.0.0.2 node-2 r"}, "10.0.0.1 10.0.0.2", "", ""},
		{"an unready one without a hint does not matter", "{}", "za", []string{"10.0.0.1 node-2 r zones=za", "10.0.0.2 node-2 n", "10.0.0.3 node-2 r zones=zb"}, "10.0.0.1", "", "10.0.0.3"},
		{"own node before own zone", "{}", "za", []string{"10.0.0.1 node-1 r nodes=node-1 zones=za", "10.0.0.2 node-2 r nodes=node-2 zones=za"}, "10.0.0.1", "", "10.0.0.2"},
		{"no endpoint for the node, the zone", "{}", "za", []string{"10.0.0.1 node-3 r nodes=node-3 zones=za", "10.0.0.2 node-2 r nodes=node-2 zones=zb"}, "10.0.0.1", "", "10.0.0.2"},
		{"no endpoint for the node or zone, all", "{}", "zc", []string{"10.0.0.1 node-3 r nodes=node-3 zones=za", "10.0.0.2 node-2 r nodes=node-2 zones=zb"}, "10.0.0.1 10.0.0.2", "", ""},
		{"only draining ones, all of them", "{}", "za", []string{"10.0.0.1 node-2 s zones=za", "10.0.0.2 node-2 s zones=zb"}, "10.0.0.1 10.0.0.2", "", ""},
		{"policy Local does not look at hints", local, "za", []string{"10.0.0.1 node-1 r zones=zb", "10.0.0.2 node-2 r zones=za"}, "10.0.0.2", "10.0.0.1", ""},
		{"Local falls back by itself", local, "za", []string{"10.0.0.1 node-1 s zones=za", "10.0.0.2 node-2 r zones=za", "10.0.0.3 node-2 r zones=zb"}, "10.0.0.2", "10.0.0.1", "10.0.0.3"},
	} {
		t.Run(test.about, func(t *testing.T) {
			service := parse[corev1.Service](t, "spec: "+test.service)
			service.Spec.ClusterIP = "10.96.0.1"
			service.Spec.Ports = []corev1.ServicePort{{Port: 80, NodePort: 30080}}
			slices := []*discoveryv1.EndpointSlice{hinted(t, test.endpoints...)}
			port := Service(service, slices, Node{Name: "node-1", Zone: test.zone})[0]
			for _, set := range []struct {
				name     string
				actual   []Endpoint
				expected string
			}{{"Cluster", port.Cluster, test.cluster}, {"Local", port.Local, test.local}, {"Draining", port.Draining, test.draining}} {
				if actual := texts(set.actual); actual != set.expected {
					t.Errorf("%s %q, expected %q", set.name, actual, set.expected)
				}
			}
		})
	}
}

func TestDualStack(t *testing.T) {
	service := parse[corev1.Service](t, `
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00:96::1"]
  externalIPs: [192.168.1.100, "fd00:1::100"]
  loadBalancerSourceRanges: [192.168.1.0/24, "fd00:1::7/64"]
  ports: [{name: sig, protocol: SCTP, port: 3868, nodePort: 30868}, {name: web, port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: "fd00:1::200"}, {ip: 192.168.1.200}]}}`)
	slices := []*discoveryv1.EndpointSlice{
		parse[discoveryv1.EndpointSlice](t, "{addressType: IPv6, ports: [{name: sig, protocol: SCTP, port: 9}, {name: web, port: 8080}], endpoints: [{addresses: ['fd00:244::2']}, {addresses: [10.244.0.9]}]}"),
		parse[discoveryv1.EndpointSlice](t, "{addressType: IPv4, ports: [{name: sig, protocol: SCTP, port: 9}, {name: web, port: 8080}], endpoints: [{addresses: [10.244.0.2]}]}"),
	}
	var actual []string
	for _, port := range Service(service, slices, Node{}) {
		actual = append(actual, fmt.Sprint(port.Family(), " ", port.Name.Port, " ", port.Protocol, " ", port.ClusterIP, port.ExternalIPs, port.LoadBalancerIPs, port.SourceRanges, port.NodePort, port.Cluster))
	}
	expected := []string{
		"IPv4 sig SCTP 10.96.0.1 [192.168.1.100] [192.168.1.200] [192.168.1.0/24] 30868 [10.244.0.2:9]",
		"IPv4 web TCP 10.96.0.1 [192.168.1.100] [192.168.1.200] [192.168.1.0/24] 30080 [10.244.0.2:8080]",
		"IPv6 sig SCTP fd00:96::1 [fd00:1::100] [fd00:1::200] [fd00:1::/64] 30868 [[fd00:244::2]:9]",
		"IPv6 web TCP fd00:96::1 [fd00:1::100] [fd00:1::200] [fd00:1::/64] 30080 [[fd00:244::2]:8080]",
	}
	if strings.Join(actual, "\n") != strings.Join(expected, "\n") {
		t.Errorf("%s\nexpected\n%s", strings.Join(actual, "\n"), strings.Join(expected, "\n"))
	}
}

// A health check counts addresses, not ports, of ready endpoints only, for each family by itself.
func TestLocalReady(t *testing.T) {
	two := hinted(t, "10.0.0.1 node-1 r", "10.0.0.2 node-1 s", "10.0.0.3 node-2 r", "10.0.0.4 node-1 r")
	again := hinted(t, "10.0.0.1 node-1 r")
	portless := hinted(t, "10.0.0.5 node-1 r")
	portless.Ports = nil
	six := parse[discoveryv1.EndpointSlice](t, "{addressType: IPv6, ports: [{port: 1}], endpoints: [{addresses: ['fd00::1'], nodeName: node-1}]}")
	var inputs []*SliceInput
	for _, slice := range []*discoveryv1.EndpointSlice{two, again, portless, six} {
		inputs = append(inputs, ReadSlice(slice))
	}
	node := Node{Name: "node-1"}
	if four, six := LocalReady(inputs, corev1.IPv4Protocol, node), LocalReady(inputs, corev1.IPv6Protocol, node); four != 2 || six != 1 {
		t.Errorf("%d of IPv4, %d of IPv6; expected 2 and 1", four, six)
	}
}

func BenchmarkPorts(b *testing.B) {
	service := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 80}}}}
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: make([]discoveryv1.EndpointPort, 1)}
	number := int32(8080)
	slice.Ports[0].Port = &number
	for i := range 5 {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.0.%d", 7*i+2)}})
	}
	input, slices := ReadService(service), []*SliceInput{ReadSlice(slice)}
	b.ReportAllocs()
	for range b.N {
		Ports(input, slices, Node{Name: "node-1"})
	}
}
