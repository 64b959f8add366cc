//lint:file-ignore SA1019 Endpoints are deprecated, and served: they are what this package is about.

package endpointslicemirroring

import (
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/slicing"
)

const (
	managedBy = "endpointslicemirroring-controller.k8s.io"
	limit     = 1000 // of endpoints in a slice, and of addresses taken from a subset

	// As k8s.io/client-go/tools/leaderelection writes it.
	leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"
)

// mirrored says whether Endpoints are to be copied, were their Service one without a selector.
func mirrored(endpoints *corev1.Endpoints) bool {
	_, leader := endpoints.Annotations[leaderAnnotation]
	return endpoints.Labels[discoveryv1.LabelSkipMirror] != "true" && !leader && endpoints.DeletionTimestamp == nil
}

func ownerOf(endpoints *corev1.Endpoints) slicing.Owner {
	labels := maps.Clone(endpoints.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[discoveryv1.LabelServiceName] = endpoints.Name
	labels[discoveryv1.LabelManagedBy] = managedBy
	annotations := maps.Clone(endpoints.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	return slicing.Owner{
		Namespace:   endpoints.Namespace,
		Name:        endpoints.Name,
		Reference:   *metav1.NewControllerRef(endpoints, corev1.SchemeGroupVersion.WithKind("Endpoints")),
		Labels:      labels,
		Annotations: annotations,
		Limit:       limit,
	}
}

// membersOf returns the endpoints of all subsets, the ready ones of each first. skipped is how many addresses did not fit,
// invalid how many are no IP addresses.
func membersOf(endpoints *corev1.Endpoints) (members []slicing.Member, skipped, invalid int) {
	for i := range endpoints.Subsets {
		subset := &endpoints.Subsets[i]
		ports := portsOf(subset)
		taken := 0
		add := func(addresses []corev1.EndpointAddress, ready bool) {
			for j := range addresses {
				address, err := netip.ParseAddr(addresses[j].IP)
				switch {
				case err != nil:
					invalid++
				case taken == limit:
					skipped++
				default:
					taken++
					members = append(members, memberOf(&addresses[j], address, ports, ready))
				}
			}
		}
		add(subset.Addresses, true)
		add(subset.NotReadyAddresses, false)
	}
	return members, skipped, invalid
}

func memberOf(source *corev1.EndpointAddress, address netip.Addr, ports []discoveryv1.EndpointPort, ready bool) slicing.Member {
	member := slicing.Member{
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       ports,
		Endpoint: discoveryv1.Endpoint{
			Addresses:  []string{address.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready)},
			TargetRef:  source.TargetRef,
			NodeName:   source.NodeName,
		},
	}
	if address.Is6() {
		member.AddressType = discoveryv1.AddressTypeIPv6
	}
	if source.Hostname != "" {
		member.Endpoint.Hostname = ptr.To(source.Hostname)
	}
	return member
}

func portsOf(subset *corev1.EndpointSubset) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for _, port := range subset.Ports {
		ports = append(ports, discoveryv1.EndpointPort{
			Name: ptr.To(port.Name), Port: ptr.To(port.Port), Protocol: ptr.To(port.Protocol), AppProtocol: port.AppProtocol,
		})
	}
	return ports
}
