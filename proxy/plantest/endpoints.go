package plantest

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// moveEndpoints gives the Service new slices: as they were with one endpoint more, less or in another state, or all new ones.
func (w *World) moveEndpoints(o object) object {
	if len(o.slices) == 0 || w.oneIn(3) || o.slices[0].Ports[0].Name == nil || *o.slices[0].Ports[0].Name != o.service.Spec.Ports[0].Name {
		return object{o.service, w.slices(o.service)}
	}
	changed := make([]*discoveryv1.EndpointSlice, len(o.slices))
	for i, slice := range o.slices {
		changed[i] = slice.DeepCopy()
	}
	slice := pick(w, changed...)
	family := familyOf(slice.AddressType)
	switch i := w.random.IntN(len(slice.Endpoints) + 1); {
	case i == len(slice.Endpoints):
		slice.Endpoints = append(slice.Endpoints, w.endpoint(family))
	case w.oneIn(2):
		slice.Endpoints = append(slice.Endpoints[:i], slice.Endpoints[i+1:]...)
	case w.oneIn(2):
		w.setState(&slice.Endpoints[i])
	default:
		slice.Endpoints[i] = w.endpoint(family)
	}
	return object{o.service, changed}
}

// slices makes one slice or two for each family. A second one has other numbers for named ports, and while endpoints move
// between slices one may be in both.
func (w *World) slices(service *corev1.Service) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	for _, addressType := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		for i := range pick(w, 1, 1, 2) {
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace,
					Name:   fmt.Sprintf("%s-%s-%d", service.Name, addressType, i),
					Labels: map[string]string{discoveryv1.LabelServiceName: service.Name}},
				AddressType: addressType,
			}
			for _, port := range service.Spec.Ports {
				slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: ptr.To(port.Name), Protocol: ptr.To(port.Protocol),
					Port: ptr.To(pick[int32](w, 8080, 8080, 8081, port.Port))})
			}
			for range pick(w, 0, 1, 1, 2, 3, 5, 12) {
				slice.Endpoints = append(slice.Endpoints, w.endpoint(familyOf(addressType)))
			}
			all = append(all, slice)
		}
	}
	return all
}

// endpoint is a Pod, which other Services may have as well, or a Pod with its node's address.
func (w *World) endpoint(family corev1.IPFamily) discoveryv1.Endpoint {
	node, pod := 1+w.random.IntN(3), 2+w.random.IntN(15)
	address := addressIn(family, 244, (node-1)<<8+pod)
	if w.oneIn(10) {
		address = nodeAddress(family, node)
	}
	endpoint := discoveryv1.Endpoint{
		Addresses: []string{address.String()},
		NodeName:  ptr.To(fmt.Sprintf("node-%d", node)),
		Zone:      ptr.To([]string{"zone-a", "zone-b", "zone-b"}[node-1]),
	}
	if w.oneIn(15) { // written by hand, for something outside the cluster
		endpoint.NodeName, endpoint.Zone = nil, nil
	}
	w.setState(&endpoint)
	if w.oneIn(3) {
		endpoint.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: pick(w, "zone-a", "zone-b")}}}
		if w.oneIn(2) {
			endpoint.Hints.ForNodes = []discoveryv1.ForNode{{Name: pick(w, "node-1", "node-2")}}
		}
	}
	return endpoint
}

// setState chooses among the states of a Pod: ready, unknown (which counts as ready), not ready, serving to the end of its
// time, no longer serving.
func (w *World) setState(endpoint *discoveryv1.Endpoint) {
	state := func(ready, serving, terminating bool) discoveryv1.EndpointConditions {
		return discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
	}
	endpoint.Conditions = pick(w, state(true, true, false), state(true, true, false), state(true, true, false),
		discoveryv1.EndpointConditions{}, state(false, false, false), state(false, true, true), state(false, true, true), state(false, false, true))
}

// nodeAddress is 192.168.1.(1+node), or fd00:c0::(1+node).
func nodeAddress(family corev1.IPFamily, node int) netip.Addr {
	if family == corev1.IPv4Protocol {
		return netip.AddrFrom4([4]byte{192, 168, 1, byte(1 + node)})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 3: 0xc0, 15: byte(1 + node)})
}

func familyOf(addressType discoveryv1.AddressType) corev1.IPFamily {
	if addressType == discoveryv1.AddressTypeIPv4 {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}
