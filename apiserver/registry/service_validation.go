package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateService checks a Service by itself. What old has (it may be nil) was valid once and stays so.
func validateService(service, old *corev1.Service) field.ErrorList {
	path, spec := field.NewPath("spec"), &service.Spec
	errs := validateTopologyAnnotations(service)
	errs = append(errs, validatePerType(path, spec)...)
	for i := range spec.Ports {
		errs = append(errs, validateServicePort(path.Child("ports").Index(i), spec.Ports, i)...)
	}
	errs = append(errs, metavalidation.ValidateLabels(spec.Selector, path.Child("selector"))...)
	errs = append(errs, validateSessionAffinity(path, spec)...)
	errs = append(errs, validateClusterIPs(service, old)...)
	errs = append(errs, validateExternalIPs(path.Child("externalIPs"), service, old)...)
	errs = append(errs, oneOf(path.Child("type"), spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
	errs = append(errs, validateNumbers(path.Child("ports"), spec)...)
	errs = append(errs, validateSourceRanges(service, old)...)
	if spec.AllocateLoadBalancerNodePorts != nil && spec.Type != corev1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(path.Child("allocateLoadBalancerNodePorts"), onlyLoadBalancer))
	}
	if old == nil { // else it has been said before all others
		errs = append(errs, validateLoadBalancerClass(path, spec)...)
	}
	return append(errs, validateTrafficPolicies(path, spec)...)
}

func validateTopologyAnnotations(service *corev1.Service) field.ErrorList {
	hints, hinted := service.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	mode, moded := service.Annotations[corev1.AnnotationTopologyMode]
	if !hinted || !moded || hints == mode {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(corev1.AnnotationTopologyMode), mode,
		fmt.Sprintf("must match annotations[%s] when both are specified", corev1.DeprecatedAnnotationTopologyAwareHints))}
}

// validatePerType checks what only some types may have, or must.
func validatePerType(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	headless := len(spec.ClusterIPs) == 1 && spec.ClusterIPs[0] == corev1.ClusterIPNone
	if len(spec.Ports) == 0 && !headless && spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path.Child("ports"), ""))
	}
	switch spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		if headless {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), corev1.ClusterIPNone,
				fmt.Sprintf("may not be set to 'None' for %s services", spec.Type)))
		}
	case corev1.ServiceTypeExternalName:
		errs = append(errs, validateExternalName(path, spec)...)
	}
	return errs
}

func validateExternalIPs(path *field.Path, service, old *corev1.Service) field.ErrorList {
	var known []string
	if old != nil {
		known = old.Spec.ExternalIPs
	}
	var errs field.ErrorList
	for i, ip := range service.Spec.ExternalIPs {
		path := path.Index(i)
		if wrong := validation.IsValidIPForLegacyField(path, ip, true, known); len(wrong) > 0 {
			errs = append(errs, wrong...)
		} else {
			errs = append(errs, validateOrdinaryIP(path, ip)...)
		}
	}
	return errs
}

func validateExternalName(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	const reason = "may not be set for ExternalName services"
	var errs field.ErrorList
	if len(spec.ClusterIPs) > 0 {
		errs = append(errs, field.Forbidden(path.Child("clusterIPs"), reason))
	}
	if len(spec.IPFamilies) > 0 {
		errs = append(errs, field.Forbidden(path.Child("ipFamilies"), reason))
	}
	if spec.IPFamilyPolicy != nil {
		errs = append(errs, field.Forbidden(path.Child("ipFamilyPolicy"), reason))
	}
	name := strings.TrimSuffix(spec.ExternalName, ".")
	if name == "" {
		return append(errs, field.Required(path.Child("externalName"), ""))
	}
	return append(errs, validateDNSSubdomain(path.Child("externalName"), name)...)
}

func validateServicePort(path *field.Path, ports []corev1.ServicePort, i int) field.ErrorList {
	var errs field.ErrorList
	port := &ports[i]
	sameName := func(other corev1.ServicePort) bool { return other.Name == port.Name }
	if port.Name != "" {
		errs = append(errs, validateDNSLabel(path.Child("name"), port.Name)...)
		if slices.ContainsFunc(ports[:i], sameName) {
			errs = append(errs, field.Duplicate(path.Child("name"), port.Name))
		}
	} else if len(ports) > 1 {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	errs = append(errs, validatePortNumber(path.Child("port"), port.Port)...)
	errs = append(errs, validateProtocol(path.Child("protocol"), port.Protocol)...)
	errs = append(errs, validatePortNumberOrName(path.Child("targetPort"), port.TargetPort)...)
	if port.AppProtocol != nil {
		errs = append(errs, validateQualifiedName(path.Child("appProtocol"), *port.AppProtocol)...)
	}
	return errs
}

// portValue is a ServicePort as Kubernetes' errors print it: its internal type has no JSON names.
type portValue struct {
	Name        string
	Protocol    corev1.Protocol
	AppProtocol *string
	Port        int32
	TargetPort  intstr.IntOrString
	NodePort    int32
}

// validateNumbers checks the ports' numbers among themselves: a number may be there once for each protocol.
func validateNumbers(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	type number struct {
		protocol corev1.Protocol
		port     int32
	}
	nodePorts, numbers := seen[number]{}, seen[number]{}
	for i, port := range spec.Ports {
		if port.NodePort != 0 && spec.Type == corev1.ServiceTypeClusterIP {
			errs = append(errs, field.Forbidden(path.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
		}
	}
	for i, port := range spec.Ports {
		if port.NodePort != 0 && nodePorts.before(number{port.Protocol, port.NodePort}) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("nodePort"), port.NodePort))
		}
	}
	for i, port := range spec.Ports {
		if numbers.before(number{port.Protocol, port.Port}) {
			errs = append(errs, field.Duplicate(path.Index(i), portValue{Protocol: port.Protocol, Port: port.Port}))
		}
	}
	return errs
}

func validateSessionAffinity(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	errs := oneOf(path.Child("sessionAffinity"), spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	path = path.Child("sessionAffinityConfig")
	config := spec.SessionAffinityConfig
	if spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		if spec.SessionAffinity == corev1.ServiceAffinityNone && config != nil {
			errs = append(errs, field.Forbidden(path, "must not be set when session affinity is None"))
		}
		return errs
	}
	const required = "when session affinity type is ClientIP"
	switch {
	case config == nil:
		return append(errs, field.Required(path, required))
	case config.ClientIP == nil:
		return append(errs, field.Required(path.Child("clientIP"), required))
	case config.ClientIP.TimeoutSeconds == nil:
		return append(errs, field.Required(path.Child("clientIP", "timeoutSeconds"), required))
	}
	const maxSeconds = 86400
	if seconds := *config.ClientIP.TimeoutSeconds; seconds <= 0 || seconds > maxSeconds {
		errs = append(errs, field.Invalid(path.Child("clientIP", "timeoutSeconds"), seconds, fmt.Sprintf("must be greater than 0 and less than %d", maxSeconds)))
	}
	return errs
}

const onlyLoadBalancer = "may only be used when `type` is 'LoadBalancer'"

// validateSourceRanges checks the field, or else the annotation that was there before it.
func validateSourceRanges(service, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	isLoadBalancer := service.Spec.Type == corev1.ServiceTypeLoadBalancer
	if ranges := service.Spec.LoadBalancerSourceRanges; len(ranges) > 0 {
		// Kubernetes, too, spells this path with a capital.
		path := field.NewPath("spec", "LoadBalancerSourceRanges")
		if !isLoadBalancer {
			errs = append(errs, field.Forbidden(path, onlyLoadBalancer))
		}
		var known []string
		if old != nil {
			for _, cidr := range old.Spec.LoadBalancerSourceRanges {
				known = append(known, strings.TrimSpace(cidr))
			}
		}
		for i, cidr := range ranges {
			errs = append(errs, validation.IsValidCIDRForLegacyField(path.Index(i), strings.TrimSpace(cidr), true, known)...)
		}
		return errs
	}
	const annotation = corev1.AnnotationLoadBalancerSourceRangesKey
	value, annotated := service.Annotations[annotation]
	if !annotated {
		return nil
	}
	path := field.NewPath("metadata", "annotations").Key(annotation)
	if !isLoadBalancer {
		errs = append(errs, field.Forbidden(path, onlyLoadBalancer))
	}
	if value = strings.TrimSpace(value); value == "" || old != nil && old.Annotations[annotation] == service.Annotations[annotation] {
		return errs
	}
	for _, cidr := range strings.Split(value, ",") {
		errs = append(errs, validation.IsValidCIDRForLegacyField(path, strings.TrimSpace(cidr), true, nil)...)
	}
	return errs
}

func validateLoadBalancerClass(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	path = path.Child("loadBalancerClass")
	switch {
	case spec.LoadBalancerClass == nil:
		return nil
	case spec.Type == corev1.ServiceTypeLoadBalancer:
		return validateQualifiedName(path, *spec.LoadBalancerClass)
	}
	return field.ErrorList{field.Forbidden(path, onlyLoadBalancer)}
}

func validateTrafficPolicies(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	external := path.Child("externalTrafficPolicy")
	if externallyAccessible(spec) {
		errs = append(errs, oneOf(external, spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	} else if spec.ExternalTrafficPolicy != "" {
		errs = append(errs, field.Invalid(external, spec.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
	}
	health := path.Child("healthCheckNodePort")
	switch {
	case spec.HealthCheckNodePort == 0 && needsHealthCheckNodePort(spec):
		errs = append(errs, field.Required(health, ""))
	case spec.HealthCheckNodePort == 0:
	case needsHealthCheckNodePort(spec):
		errs = append(errs, validatePortNumber(health, spec.HealthCheckNodePort)...)
	default:
		errs = append(errs, field.Invalid(health, spec.HealthCheckNodePort,
			"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	}
	internal := path.Child("internalTrafficPolicy")
	if spec.InternalTrafficPolicy == nil && hasClusterIPType(spec.Type) {
		errs = append(errs, field.Required(internal, ""))
	}
	errs = append(errs, optionallyOneOf(internal, spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	return append(errs, optionallyOneOf(path.Child("trafficDistribution"), spec.TrafficDistribution,
		corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
}

func validateServiceStatus(service, old *corev1.Service) field.ErrorList {
	path := field.NewPath("status", "loadBalancer", "ingress")
	ingresses := service.Status.LoadBalancer.Ingress
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer && len(ingresses) > 0 {
		return field.ErrorList{field.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	var known []string
	for _, ingress := range old.Status.LoadBalancer.Ingress {
		known = append(known, ingress.IP)
	}
	var errs field.ErrorList
	for i := range ingresses {
		errs = append(errs, validateIngress(path.Index(i), &ingresses[i], known)...)
	}
	return errs
}

// validateIngress checks an address of a load balancer; known are those that were valid once.
func validateIngress(path *field.Path, ingress *corev1.LoadBalancerIngress, known []string) field.ErrorList {
	var errs field.ErrorList
	mode := path.Child("ipMode")
	if ingress.IP != "" {
		errs = append(errs, validation.IsValidIPForLegacyField(path.Child("ip"), ingress.IP, true, known)...)
	}
	switch {
	case ingress.IPMode == nil && ingress.IP != "":
		errs = append(errs, field.Required(mode, "must be specified when `ip` is set"))
	case ingress.IPMode != nil && ingress.IP == "":
		errs = append(errs, field.Forbidden(mode, "may not be specified when `ip` is not set"))
	default:
		errs = append(errs, optionallyOneOf(mode, ingress.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
	}
	if ingress.Hostname != "" {
		errs = append(errs, validateDNSSubdomain(path.Child("hostname"), ingress.Hostname)...)
		if _, err := netip.ParseAddr(ingress.Hostname); err == nil {
			errs = append(errs, field.Invalid(path.Child("hostname"), ingress.Hostname, "must be a DNS name, not an IP address"))
		}
	}
	return errs
}
