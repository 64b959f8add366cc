package plantest

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/proxy/plan"
)

// Uniform is a plan for benchmarks: Services of type ClusterIP, each with TCP port 80 and as many endpoints, all different,
// a third of them on this node. The names are those of UniformName. Up to 65,000 Services and 4 million endpoints.
func Uniform(services, endpoints int) plan.Plan {
	uniform := make(plan.Plan, services)
	for i := range services {
		uniform[UniformName(i)] = UniformService(i, i*endpoints, endpoints)
	}
	return uniform
}

// UniformName is the name of the i-th Service of Uniform.
func UniformName(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("service-%05d", i)}
}

// UniformService is the i-th Service of Uniform, with endpoints from the first-th on. Two calls that differ in first by 1 are a
// Service of which one endpoint was replaced.
func UniformService(i, first, endpoints int) []plan.Port {
	name := UniformName(i)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
		Spec: corev1.ServiceSpec{
			Type:       corev1.ServiceTypeClusterIP,
			ClusterIP:  addressIn(corev1.IPv4Protocol, 96, 1+i).String(),
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports:      []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	slice := &discoveryv1.EndpointSlice{
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	for n := first; n < first+endpoints; n++ {
		address := netip.AddrFrom4([4]byte{10, byte(128 + n>>16), byte(n >> 8), byte(n)})
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address.String()}, NodeName: ptr.To(fmt.Sprintf("node-%d", 1+n%3))})
	}
	return plan.Service(service, []*discoveryv1.EndpointSlice{slice}, plan.Node{Name: Node})
}
