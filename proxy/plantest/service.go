package plantest

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// object makes a new Service with endpoints.
func (w *World) object(name types.NamespacedName) object {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	w.setPorts(service)
	w.setType(service)
	w.setAffinity(service)
	w.setExternalIPs(service)
	if w.oneIn(3) {
		service.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	}
	return w.moveEndpoints(object{service: service})
}

// edit changes one field of the Service, with what Kubernetes changes along with it.
func (w *World) edit(o object) object {
	service := o.service.DeepCopy()
	switch w.random.IntN(9) {
	case 0, 1:
		w.setType(service)
	case 2:
		w.setPorts(service)
		w.setNodePorts(service)
		return w.moveEndpoints(object{service: service})
	case 3:
		w.setAffinity(service)
	case 4:
		w.setExternalIPs(service)
	case 5:
		service.Spec.InternalTrafficPolicy = ptr.To(pick(w, corev1.ServiceInternalTrafficPolicyLocal, corev1.ServiceInternalTrafficPolicyCluster))
	case 6:
		w.setExternalPolicy(service)
		w.setNodePorts(service)
	case 7:
		w.setSourceRanges(service)
	case 8:
		w.setIngress(service)
	}
	return object{service, o.slices}
}

// swap gives each of the two Services the other's ClusterIPs and node ports.
func (w *World) swap(a, b types.NamespacedName) map[types.NamespacedName]object {
	first, second := w.objects[a], w.objects[b]
	firstService, secondService := first.service.DeepCopy(), second.service.DeepCopy()
	x, y := &firstService.Spec, &secondService.Spec
	x.ClusterIP, y.ClusterIP = y.ClusterIP, x.ClusterIP
	x.ClusterIPs, y.ClusterIPs = y.ClusterIPs, x.ClusterIPs
	x.IPFamilies, y.IPFamilies = y.IPFamilies, x.IPFamilies
	x.Ports, y.Ports = y.Ports, x.Ports
	x.Type, y.Type = y.Type, x.Type
	x.ExternalTrafficPolicy, y.ExternalTrafficPolicy = y.ExternalTrafficPolicy, x.ExternalTrafficPolicy
	x.HealthCheckNodePort, y.HealthCheckNodePort = y.HealthCheckNodePort, x.HealthCheckNodePort
	if x.Type != y.Type {
		firstService.Status, secondService.Status = secondService.Status, firstService.Status
	}
	return map[types.NamespacedName]object{
		a: w.moveEndpoints(object{firstService, first.slices}),
		b: w.moveEndpoints(object{secondService, second.slices}),
	}
}

// setPorts makes one to three ports; two may have the same number with two protocols.
func (w *World) setPorts(service *corev1.Service) {
	service.Spec.Ports = nil
	used := map[string]bool{}
	for i := range pick(w, 1, 1, 1, 2, 3) {
		port := corev1.ServicePort{Protocol: pick(w, w.options.Protocols...), Port: pick[int32](w, 53, 80, 443, 8080)}
		key := fmt.Sprint(port.Protocol, port.Port)
		if used[key] {
			continue
		}
		used[key] = true
		port.Name = fmt.Sprintf("port-%d", i)
		service.Spec.Ports = append(service.Spec.Ports, port)
	}
	if len(service.Spec.Ports) == 1 && w.oneIn(2) {
		service.Spec.Ports[0].Name = ""
	}
}

// setType chooses a type and everything that only some types have. A ClusterIP is kept, as Kubernetes keeps it.
func (w *World) setType(service *corev1.Service) {
	spec := &service.Spec
	spec.Type = pick(w, corev1.ServiceTypeClusterIP, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeNodePort,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)
	switch {
	case spec.Type == corev1.ServiceTypeExternalName:
		spec.ClusterIP, spec.ClusterIPs, spec.ExternalName = "", nil, "example.com"
	case spec.Type == corev1.ServiceTypeClusterIP && w.oneIn(8):
		spec.ClusterIP, spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
	case spec.ClusterIP == "" || spec.ClusterIP == corev1.ClusterIPNone:
		other := corev1.IPv6Protocol
		if w.options.Family == corev1.IPv6Protocol {
			other = corev1.IPv4Protocol
		}
		spec.IPFamilies = pick(w, []corev1.IPFamily{w.options.Family}, []corev1.IPFamily{w.options.Family},
			[]corev1.IPFamily{w.options.Family, other}, []corev1.IPFamily{other, w.options.Family}, []corev1.IPFamily{other})
		spec.ClusterIPs = nil
		for _, family := range spec.IPFamilies {
			spec.ClusterIPs = append(spec.ClusterIPs, w.clusterIP(family))
		}
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	w.setExternalPolicy(service)
	w.setNodePorts(service)
	w.setIngress(service)
	w.setSourceRanges(service)
}

func (w *World) setExternalPolicy(service *corev1.Service) {
	service.Spec.ExternalTrafficPolicy, service.Spec.HealthCheckNodePort = "", 0
	if service.Spec.Type == corev1.ServiceTypeNodePort || service.Spec.Type == corev1.ServiceTypeLoadBalancer || len(service.Spec.ExternalIPs) > 0 {
		service.Spec.ExternalTrafficPolicy = pick(w, corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster)
	}
}

// setNodePorts gives node ports to a Service that has them, and takes them from one that has not; some LoadBalancers have
// none. A load balancer with policy Local has one more for its health checks.
func (w *World) setNodePorts(service *corev1.Service) {
	spec, taken := &service.Spec, map[claim]bool{}
	spec.HealthCheckNodePort = 0
	has := spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer && !w.oneIn(4)
	for i := range spec.Ports {
		spec.Ports[i].NodePort = 0
		if has {
			spec.Ports[i].NodePort = w.nodePort(spec.Ports[i].Protocol, taken)
		}
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		spec.HealthCheckNodePort = w.nodePort(corev1.ProtocolTCP, taken)
	}
}

func (w *World) setAffinity(service *corev1.Service) {
	service.Spec.SessionAffinity, service.Spec.SessionAffinityConfig = corev1.ServiceAffinityNone, nil
	if w.oneIn(3) {
		service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		service.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
			ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: pick(w, ptr.To[int32](1), ptr.To[int32](10800), ptr.To[int32](86400))}}
	}
}

// setExternalIPs takes from few addresses, so that Services share them on different ports. 192.168.1.2 is a node's own.
func (w *World) setExternalIPs(service *corev1.Service) {
	service.Spec.ExternalIPs = nil
	if w.oneIn(4) && service.Spec.Type != corev1.ServiceTypeExternalName {
		for range 1 + w.random.IntN(3) {
			service.Spec.ExternalIPs = append(service.Spec.ExternalIPs, pick(w,
				"192.168.1.2", "203.0.113.1", "203.0.113.2", "fd00:c0::2", "fd00:cb::1", "fd00:cb::2"))
		}
	}
}

// setIngress gives a LoadBalancer addresses: none yet, one, or several, with an ingress that no proxy serves among them.
func (w *World) setIngress(service *corev1.Service) {
	service.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	for range pick(w, 0, 1, 1, 2, 3) {
		ingress := corev1.LoadBalancerIngress{IP: addressIn(pick(w, corev1.IPv4Protocol, corev1.IPv6Protocol), 200,
			1+w.random.IntN(w.options.Services+5)).String()}
		switch w.random.IntN(10) {
		case 0:
			ingress.IPMode = ptr.To(corev1.LoadBalancerIPModeProxy)
		case 1:
			ingress = corev1.LoadBalancerIngress{Hostname: "lb.example.com"}
		case 2:
			ingress.IPMode = ptr.To(corev1.LoadBalancerIPModeVIP)
		}
		service.Status.LoadBalancer.Ingress = append(service.Status.LoadBalancer.Ingress, ingress)
	}
}

func (w *World) setSourceRanges(service *corev1.Service) {
	service.Spec.LoadBalancerSourceRanges = nil
	if service.Spec.Type == corev1.ServiceTypeLoadBalancer && w.oneIn(2) {
		service.Spec.LoadBalancerSourceRanges = pick(w,
			[]string{"192.168.1.0/24"},
			[]string{" 10.0.0.0/8 ", "10.244.0.0/16", "fd00::/16"}, // one within the other
			[]string{"192.168.1.2/32", "fd00:c0::2/128"},           // only the node
			[]string{"fd00:c0::/64"},
			[]string{"0.0.0.0/0", "192.168.1.0/24", "::/0"},
			[]string{"192.168.1.77/24", "192.168.1.0/24", "192.168.2.0/23", "fd00:c0::/64", "fd00:c0::/48"},
		)
	}
}
