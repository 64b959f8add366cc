package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func node(name string, ready corev1.ConditionStatus, labels map[string]string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
	}
}

func balanced(name, address string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{
			Ingress: []corev1.LoadBalancerIngress{{IP: address, IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)}},
		}},
	}
}

func TestAnnouncerIsOneOfTheNodes(t *testing.T) {
	nodes := []string{"node-1", "node-2", "node-3"}
	counts := map[string]int{}
	for last := range 51 {
		address := netip.AddrFrom4([4]byte{192, 168, 1, byte(200 + last)})
		chosen := announcer(address, nodes)
		reversed := slices.Clone(nodes)
		slices.Reverse(reversed)
		if other := announcer(address, reversed); other != chosen {
			t.Errorf("%s: %s, and %s for the nodes in another order", address, chosen, other)
		}
		counts[chosen]++
		// Only the addresses of a node that goes move.
		without := slices.DeleteFunc(slices.Clone(nodes), func(name string) bool { return name == "node-3" })
		if moved := announcer(address, without); chosen != "node-3" && moved != chosen {
			t.Errorf("%s moved from %s to %s because node-3 went", address, chosen, moved)
		}
	}
	for _, name := range nodes {
		if counts[name] < 8 {
			t.Errorf("%s answers for %d of 51 addresses: %v", name, counts[name], counts)
		}
	}
	if chosen := announcer(netip.MustParseAddr("192.168.1.200"), nil); chosen != "" {
		t.Errorf("without nodes %q answers", chosen)
	}
}

func TestAddressesOf(t *testing.T) {
	ready, unready := node("node-1", corev1.ConditionTrue, nil), node("node-2", corev1.ConditionUnknown, nil)
	excluded := node("node-3", corev1.ConditionTrue, map[string]string{corev1.LabelNodeExcludeBalancers: ""})
	ready.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.1.2"}}
	nodes := []*corev1.Node{ready, unready, excluded}
	if welcome := node("node-4", corev1.ConditionTrue, map[string]string{corev1.LabelNodeExcludeBalancers: "false"}); len(ableNodes([]*corev1.Node{welcome})) != 1 {
		t.Error(`a node with the label "false" is kept away`)
	}
	local := balanced("local", "192.168.1.201")
	local.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	formerly := balanced("formerly", "192.168.1.202")
	formerly.Spec.Type = corev1.ServiceTypeClusterIP
	proxied := balanced("proxied", "192.168.1.203")
	proxied.Status.LoadBalancer.Ingress[0].IPMode = ptr.To(corev1.LoadBalancerIPModeProxy)
	tests := map[string]struct {
		service   *corev1.Service
		endpoints map[string]bool // readiness by node
		want      string
	}{
		"the only able node":                {service: balanced("web", "192.168.1.200"), want: "[192.168.1.200]"},
		"a node's own":                      {service: balanced("web", "192.168.1.2"), want: "[]"},
		"pending":                           {service: balanced("web", ""), want: "[]"},
		"of another type by now":            {service: formerly, want: "[]"},
		"handled by the load balancer":      {service: proxied, want: "[]"},
		"local, with an endpoint":           {service: local, endpoints: map[string]bool{"node-1": true}, want: "[192.168.1.201]"},
		"local, with no ready endpoint":     {service: local, endpoints: map[string]bool{"node-1": false}, want: "[]"},
		"local, with endpoints elsewhere":   {service: local, endpoints: map[string]bool{"node-2": true}, want: "[]"},
		"local, without endpoints anywhere": {service: local, want: "[]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			slicesOf := func(*corev1.Service) []*discoveryv1.EndpointSlice {
				slice := &discoveryv1.EndpointSlice{}
				for node, ready := range test.endpoints {
					slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
				}
				return []*discoveryv1.EndpointSlice{slice}
			}
			own := addressesOf("node-1", []*corev1.Service{test.service}, nodes, ableNodes(nodes), slicesOf)
			if got := fmt.Sprint(own); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
