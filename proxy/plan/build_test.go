package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return object
}

func texts(endpoints []Endpoint) string {
	all := make([]string, len(endpoints))
	for i, endpoint := range endpoints {
		all[i] = endpoint.Addr().String()
	}
	return strings.Join(all, " ")
}

// Endpoints here are on this node, there on another one. A ready one is "r", one that terminates and serves is "s", one
// that is not ready and does not terminate is "n", one that terminates and serves no more is "t".
func TestEndpointsByTrafficPolicy(t *testing.T) {
	for _, test := range []struct {
		about          string
		service        string
		here, there    string
		cluster, local string
		draining       string
		hasEndpoints   bool
	}{
		{"Cluster: all ready ones", "{}", "rn", "rt", "10.0.0.1 10.1.0.1", "", "", true},
		{"Cluster: a draining one is passed over", "{}", "s", "r", "10.1.0.1", "", "10.0.0.1", true},
		{"Cluster: unless there is no other", "{}", "s", "nt", "10.0.0.1", "", "", true},
		{"nothing usable", "{}", "n", "t", "", "", "", false},
		{"internal Local: only here", "{internalTrafficPolicy: Local}", "rs", "r", "", "10.0.0.1", "10.0.0.2 10.1.0.1", true},
		{"internal Local: none here", "{internalTrafficPolicy: Local}", "n", "r", "", "", "10.1.0.1", true},
		{"internal Local: draining here", "{internalTrafficPolicy: Local}", "s", "r", "", "10.0.0.1", "10.1.0.1", true},
		{"external Local: both", "{type: NodePort, externalTrafficPolicy: Local}", "r", "r", "10.0.0.1 10.1.0.1", "10.0.0.1", "", true},
		{"external Local: draining here", "{type: NodePort, externalTrafficPolicy: Local}", "s", "r", "10.1.0.1", "10.0.0.1", "", true},
		{"both Local", "{type: NodePort, externalTrafficPolicy: Local, internalTrafficPolicy: Local}", "", "r", "10.1.0.1", "", "", true},
	} {
		t.Run(test.about, func(t *testing.T) {
			service := parse[corev1.Service](t, "spec: "+test.service)
			service.Spec.ClusterIP = "10.96.0.1"
			service.Spec.Ports = []corev1.ServicePort{{Port: 80, NodePort: 30080}}
			slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
				Ports: parse[discoveryv1.EndpointSlice](t, "ports: [{port: 8080}]").Ports}
			for node, states := range []string{test.here, test.there} {
				for i, state := range states {
					slice.Endpoints = append(slice.Endpoints, *parse[discoveryv1.Endpoint](t, fmt.Sprintf(
						"{addresses: [10.%d.0.%d], nodeName: node-%d, conditions: {ready: %v, serving: %v, terminating: %v}}",
						node, i+1, node+1, state == 'r', state == 'r' || state == 's', state == 's' || state == 't')))
				}
			}
			port := Service(service, []*discoveryv1.EndpointSlice{slice}, Node{Name: "node-1"})[0]
			if actual := texts(port.Cluster); actual != test.cluster {
				t.Errorf("Cluster %q, expected %q", actual, test.cluster)
			}
			if actual := texts(port.Local); actual != test.local {
				t.Errorf("Local %q, expected %q", actual, test.local)
			}
			if actual := texts(port.Draining); actual != test.draining {
				t.Errorf("Draining %q, expected %q", actual, test.draining)
			}
			if port.HasEndpoints != test.hasEndpoints {
				t.Errorf("HasEndpoints %v", port.HasEndpoints)
			}
		})
	}
}

// Conditions that a slice made by hand leaves out: ready and serving are true then, terminating is not.
func TestConditionsLeftOut(t *testing.T) {
	for _, test := range []struct{ conditions, cluster, draining string }{
		{"{}", "10.0.0.1", ""},
		{"{ready: true}", "10.0.0.1", ""},
		{"{terminating: true}", "10.0.0.1", ""},
		{"{ready: false}", "", "10.0.0.1"},
		{"{ready: false, terminating: true}", "10.0.0.1", ""},
		{"{ready: false, serving: false}", "", ""},
	} {
		service := parse[corev1.Service](t, "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}")
		slice := parse[discoveryv1.EndpointSlice](t, fmt.Sprintf("{addressType: IPv4, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1], conditions: %s}]}", test.conditions))
		port := Service(service, []*discoveryv1.EndpointSlice{slice}, Node{})[0]
		if cluster, draining := texts(port.Cluster), texts(port.Draining); cluster != test.cluster || draining != test.draining {
			t.Errorf("%s: Cluster %q, Draining %q; expected %q and %q", test.conditions, cluster, draining, test.cluster, test.draining)
		}
	}
}

func TestServicesWithoutRules(t *testing.T) {
	for _, text := range []string{
		"spec: {clusterIP: None, ports: [{port: 80}]}",
		"spec: {clusterIP: '', ports: [{port: 80}]}",
		"spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}",
		"{metadata: {labels: {service.kubernetes.io/service-proxy-name: mesh}}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}",
	} {
		if ports := Service(parse[corev1.Service](t, text), nil, Node{}); len(ports) > 0 {
			t.Errorf("%s: %d ports", text, len(ports))
		}
	}
}

// A slice's port is found by name and protocol; an address in two slices, or of another family, counts once or not at all.
func TestEndpointsFromSlices(t *testing.T) {
	service := parse[corev1.Service](t, "{metadata: {namespace: a, name: b}, spec: {clusterIP: 10.96.0.1, ports: [{name: dns, protocol: UDP, port: 53}, {name: dns-tcp, port: 53}]}}")
	var all []*discoveryv1.EndpointSlice
	for _, text := range []string{
		"{addressType: IPv4, ports: [{name: dns, protocol: UDP, port: 5353}], endpoints: [{addresses: [10.244.0.10]}, {addresses: [10.244.0.2]}]}",
		"{addressType: IPv4, ports: [{name: dns, protocol: UDP, port: 5353}, {name: dns-tcp, port: 5454}], endpoints: [{addresses: [10.244.0.2]}]}",
		"{addressType: IPv4, ports: [{name: dns, protocol: TCP, port: 1}], endpoints: [{addresses: [10.244.0.3]}]}",
		"{addressType: IPv6, ports: [{name: dns, protocol: UDP, port: 5353}], endpoints: [{addresses: ['fd00::2']}]}",
		"{addressType: IPv4, ports: [{name: dns, protocol: UDP, port: 0}, {name: dns-tcp, port: 70000}, {name: dns-tcp}], endpoints: [{addresses: [10.244.0.4]}]}",
		"{addressType: FQDN, ports: [{name: dns, protocol: UDP, port: 5353}], endpoints: [{addresses: [example.com]}]}",
	} {
		slice := parse[discoveryv1.EndpointSlice](t, text)
		slice.Namespace, slice.Labels = "a", map[string]string{discoveryv1.LabelServiceName: "b"}
		all = append(all, slice)
	}
	plan := Build([]*corev1.Service{service}, all, Node{})
	var actual []string
	for _, ports := range plan {
		for _, port := range ports {
			actual = append(actual, fmt.Sprint(port.Name, " ", port.Protocol, " ", port.Cluster))
		}
	}
	expected := []string{"a/b:dns UDP [10.244.0.10:5353 10.244.0.2:5353]", "a/b:dns-tcp TCP [10.244.0.2:5454]"}
	if !slices.Equal(actual, expected) {
		t.Errorf("%q, expected %q", actual, expected)
	}
}

func TestAddresses(t *testing.T) {
	port := Service(parse[corev1.Service](t, `
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  externalIPs: [192.168.1.100, 192.168.1.100, "fd00::1"]
  loadBalancerSourceRanges: [" 192.168.1.7/24", junk, "fd00::/8"]
  externalTrafficPolicy: Local
  healthCheckNodePort: 32000
  sessionAffinity: ClientIP
  ports: [{port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 192.168.1.200}, {ip: 192.168.1.201, ipMode: Proxy}, {hostname: lb.example.com}]}}`), nil, Node{})[0]
	actual := fmt.Sprint(port.ExternalIPs, port.LoadBalancerIPs, port.SourceRanges, port.NodePort, port.HealthCheckNodePort, port.AffinitySeconds)
	if expected := "[192.168.1.100] [192.168.1.200] [192.168.1.0/24] 30080 32000 10800"; actual != expected {
		t.Errorf("%s, expected %s", actual, expected)
	}
}
