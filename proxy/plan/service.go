package plan

import (
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ServiceInput is what plans depend on of a Service: a tenth of its size. It is never changed.
type ServiceInput struct {
	Name types.NamespacedName
	// HealthCheckNodePort is where load balancers ask whether a node has endpoints of the Service; 0 for nowhere.
	HealthCheckNodePort uint16

	frontends       []frontend // one for each ClusterIP
	ports           []servicePort
	affinitySeconds int32
	internalLocal   bool
	externalLocal   bool
}

// frontend holds a Service's addresses of one family.
type frontend struct {
	clusterIP       netip.Addr
	externalIPs     []netip.Addr
	loadBalancerIPs []netip.Addr
	sourceRanges    []netip.Prefix
}

type servicePort struct {
	name     string
	protocol corev1.Protocol
	port     uint16
	nodePort uint16
}

// GetObjectMeta implements metav1.ObjectMetaAccessor: client-go's stores find an object's name by it.
func (s *ServiceInput) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: s.Name.Namespace, Name: s.Name.Name}
}

// Has says whether the Service has a ClusterIP of the family.
func (s *ServiceInput) Has(family corev1.IPFamily) bool {
	return slices.ContainsFunc(s.frontends, func(f frontend) bool { return familyOf(f.clusterIP) == family })
}

// ReadService takes from a Service what plans depend on. One that no rule is needed for (headless, ExternalName, someone else's
// proxy) is nothing but its name.
func ReadService(service *corev1.Service) *ServiceInput {
	input := &ServiceInput{Name: intern(service.Namespace, service.Name)}
	if service.Spec.Type == corev1.ServiceTypeExternalName || service.Labels[LabelServiceProxyName] != "" {
		return input
	}
	for _, clusterIP := range clusterIPs(service) {
		input.frontends = append(input.frontends, readFrontend(service, clusterIP))
	}
	input.affinitySeconds = affinitySeconds(service)
	input.internalLocal = isLocal(service.Spec.InternalTrafficPolicy)
	input.externalLocal = service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if input.externalLocal && service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		input.HealthCheckNodePort = uint16(service.Spec.HealthCheckNodePort)
	}
	hasNodePorts := service.Spec.Type == corev1.ServiceTypeNodePort || service.Spec.Type == corev1.ServiceTypeLoadBalancer
	input.ports = make([]servicePort, 0, len(service.Spec.Ports))
	for i := range service.Spec.Ports {
		spec := &service.Spec.Ports[i]
		port := servicePort{name: internString(spec.Name), protocol: internProtocol(spec.Protocol), port: uint16(spec.Port)}
		if hasNodePorts {
			port.nodePort = uint16(spec.NodePort)
		}
		input.ports = append(input.ports, port)
	}
	return input
}

// clusterIPs are the Service's addresses, one of a family at most; none for a headless Service.
func clusterIPs(service *corev1.Service) []netip.Addr {
	texts := service.Spec.ClusterIPs
	if len(texts) == 0 {
		texts = []string{service.Spec.ClusterIP}
	}
	var addresses []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err == nil && !slices.ContainsFunc(addresses, func(other netip.Addr) bool { return sameFamily(address, other) }) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func readFrontend(service *corev1.Service, clusterIP netip.Addr) frontend {
	f := frontend{clusterIP: clusterIP}
	for _, text := range service.Spec.ExternalIPs {
		f.externalIPs = appendAddress(f.externalIPs, text, clusterIP)
	}
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return f
	}
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		// With ipMode Proxy (KEP-1860) the load balancer wants to see the traffic itself.
		if ingress.IPMode == nil || *ingress.IPMode != corev1.LoadBalancerIPModeProxy {
			f.loadBalancerIPs = appendAddress(f.loadBalancerIPs, ingress.IP, clusterIP)
		}
	}
	if len(f.loadBalancerIPs) > 0 {
		f.sourceRanges = sourceRanges(service, clusterIP)
	}
	return f
}

// appendAddress appends the address that text is, if it is of like's family and new.
func appendAddress(addresses []netip.Addr, text string, like netip.Addr) []netip.Addr {
	address, err := netip.ParseAddr(text)
	if err != nil || !sameFamily(address, like) || slices.Contains(addresses, address) {
		return addresses
	}
	return append(addresses, address)
}

// sourceRanges are those of like's family. It is empty when one of them admits everyone.
func sourceRanges(service *corev1.Service, like netip.Addr) []netip.Prefix {
	var ranges []netip.Prefix
	for _, text := range service.Spec.LoadBalancerSourceRanges {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || !sameFamily(prefix.Addr(), like) {
			continue
		}
		if prefix.Bits() == 0 {
			return nil
		}
		ranges = append(ranges, prefix.Masked())
	}
	return ranges
}

func isLocal(policy *corev1.ServiceInternalTrafficPolicy) bool {
	return policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal
}

func affinitySeconds(service *corev1.Service) int32 {
	if service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	config := service.Spec.SessionAffinityConfig
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return corev1.DefaultClientIPServiceAffinitySeconds
	}
	return *config.ClientIP.TimeoutSeconds
}

func sameFamily(a, b netip.Addr) bool { return a.Is4() == b.Is4() }

// internString returns a string of which there is one copy in the process: names of ports, nodes and namespaces recur in
// thousands of objects.
func internString(text string) string { return unique.Make(text).Value() }

func intern(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: internString(namespace), Name: internString(name)}
}

// internProtocol is one of the three protocols; TCP for an empty one.
func internProtocol(protocol corev1.Protocol) corev1.Protocol {
	switch protocol {
	case corev1.ProtocolUDP:
		return corev1.ProtocolUDP
	case corev1.ProtocolSCTP:
		return corev1.ProtocolSCTP
	}
	return corev1.ProtocolTCP
}
