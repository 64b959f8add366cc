//lint:file-ignore SA1019 Endpoints are deprecated, and served: they are what this package is about.

package endpoint

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/selection"
)

// capacity is the largest number of addresses in an Endpoints object.
const capacity = 1000

// subsetsOf groups the addresses of a Service's Pods by the ports they have, sorted, so that equal states are equal.
func subsetsOf(service *corev1.Service, pods []*corev1.Pod) []corev1.EndpointSubset {
	byPorts := map[string]*corev1.EndpointSubset{}
	for _, pod := range pods {
		address, ok := addressOf(service, pod)
		if !ok {
			continue
		}
		ports := portsOf(service, pod)
		// Only a headless Service may have no ports at all.
		if len(ports) == 0 && (len(service.Spec.Ports) > 0 || service.Spec.ClusterIP != corev1.ClusterIPNone) {
			continue
		}
		key := portsKey(ports)
		if byPorts[key] == nil {
			byPorts[key] = &corev1.EndpointSubset{Ports: ports}
		}
		if subset := byPorts[key]; service.Spec.PublishNotReadyAddresses || selection.Ready(pod) {
			subset.Addresses = append(subset.Addresses, address)
		} else {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, address)
		}
	}
	subsets := make([]corev1.EndpointSubset, 0, len(byPorts))
	for _, key := range slices.Sorted(maps.Keys(byPorts)) {
		subset := byPorts[key]
		slices.SortFunc(subset.Addresses, compareAddresses)
		slices.SortFunc(subset.NotReadyAddresses, compareAddresses)
		subsets = append(subsets, *subset)
	}
	return subsets
}

// addressOf is the Pod's address in the Service's first family; ok is false if it is no endpoint.
func addressOf(service *corev1.Service, pod *corev1.Pod) (address corev1.EndpointAddress, ok bool) {
	if !selection.HasEndpoint(pod) || pod.DeletionTimestamp != nil && !service.Spec.PublishNotReadyAddresses {
		return address, false
	}
	ip, ok := podIP(pod, selection.Families(service)[0])
	if !ok {
		return address, false
	}
	address = corev1.EndpointAddress{
		IP:        ip,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		address.NodeName = ptr.To(pod.Spec.NodeName)
	}
	if selection.HasHostname(pod, service) {
		address.Hostname = pod.Spec.Hostname
	}
	return address, true
}

func podIP(pod *corev1.Pod, family corev1.IPFamily) (ip string, ok bool) {
	all := pod.Status.PodIPs
	if len(all) == 0 {
		all = []corev1.PodIP{{IP: pod.Status.PodIP}}
	}
	for _, candidate := range all {
		address, err := netip.ParseAddr(candidate.IP)
		if err == nil && address.Is4() == (family != corev1.IPv6Protocol) {
			return candidate.IP, true
		}
	}
	return "", false
}

func portsOf(service *corev1.Service, pod *corev1.Pod) []corev1.EndpointPort {
	var ports []corev1.EndpointPort
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		if number, ok := selection.Port(pod, port); ok {
			ports = append(ports, corev1.EndpointPort{Name: port.Name, Port: number, Protocol: port.Protocol, AppProtocol: port.AppProtocol})
		}
	}
	slices.SortFunc(ports, func(a, b corev1.EndpointPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return ports
}

func portsKey(ports []corev1.EndpointPort) string {
	var key strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&key, "%s/%s/%d/%s ", port.Name, port.Protocol, port.Port, ptr.Deref(port.AppProtocol, ""))
	}
	return key.String()
}

func compareAddresses(a, b corev1.EndpointAddress) int {
	ipA, _ := netip.ParseAddr(a.IP) // addressOf has parsed it
	ipB, _ := netip.ParseAddr(b.IP)
	return cmp.Or(ipA.Compare(ipB), cmp.Compare(a.TargetRef.UID, b.TargetRef.UID))
}

// truncate cuts the subsets down to the capacity and says whether it had to. Each subset keeps its share of the ready addresses;
// addresses that are not ready get what those leave.
func truncate(subsets []corev1.EndpointSubset) bool {
	ready, others := 0, 0
	for i := range subsets {
		ready += len(subsets[i].Addresses)
		others += len(subsets[i].NotReadyAddresses)
	}
	if ready+others <= capacity {
		return false
	}
	room := min(capacity, ready)
	cut(subsets, room, ready, func(subset *corev1.EndpointSubset) *[]corev1.EndpointAddress { return &subset.Addresses })
	cut(subsets, capacity-room, others, func(subset *corev1.EndpointSubset) *[]corev1.EndpointAddress { return &subset.NotReadyAddresses })
	return true
}

// cut leaves room of the total addresses in the lists, each in proportion, rounded up: the last one may get less.
func cut(subsets []corev1.EndpointSubset, room, total int, list func(*corev1.EndpointSubset) *[]corev1.EndpointAddress) {
	left := room
	for i := range subsets {
		addresses := list(&subsets[i])
		if total == 0 || len(*addresses) == 0 {
			continue
		}
		share := (len(*addresses)*room + total - 1) / total
		*addresses = (*addresses)[:min(share, left, len(*addresses))]
		left -= len(*addresses)
	}
}
