package registry

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func validateService(service *corev1.Service) field.ErrorList {
	path, spec := field.NewPath("spec"), &service.Spec
	errs := validateServiceType(path, spec)
	errs = append(errs, validateServicePorts(path.Child("ports"), spec)...)
	errs = append(errs, metavalidation.ValidateLabels(spec.Selector, path.Child("selector"))...)
	errs = append(errs, validateSessionAffinity(path, spec)...)
	errs = append(errs, validateClusterIPs(path, spec)...)
	for i, ip := range spec.ExternalIPs {
		path := path.Child("externalIPs").Index(i)
		if ipErrs := validation.IsValidIP(path, ip); len(ipErrs) > 0 {
			errs = append(errs, ipErrs...)
		} else {
			errs = append(errs, validateOrdinaryIP(path, ip)...)
		}
	}
	errs = append(errs, validateLoadBalancer(path, spec)...)
	return append(errs, validateTrafficPolicies(path, spec)...)
}

// validateServiceType checks the type, and what only some types may have.
func validateServiceType(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	headless := isHeadless(spec)
	if len(spec.Ports) == 0 && !(headless && spec.Type == corev1.ServiceTypeClusterIP) && spec.Type != corev1.ServiceTypeExternalName {
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
	return append(errs, oneOf(path.Child("type"), spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
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

func validateServicePorts(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	names := seen[string]{}
	for i := range spec.Ports {
		port, path := &spec.Ports[i], path.Index(i)
		if port.Name != "" {
			errs = append(errs, validateDNSLabel(path.Child("name"), port.Name)...)
			if names.before(port.Name) {
				errs = append(errs, field.Duplicate(path.Child("name"), port.Name))
			}
		} else if len(spec.Ports) > 1 {
			errs = append(errs, field.Required(path.Child("name"), ""))
		}
		errs = append(errs, validatePortNumber(path.Child("port"), port.Port)...)
		errs = append(errs, validateProtocol(path.Child("protocol"), port.Protocol)...)
		errs = append(errs, validatePortNumberOrName(path.Child("targetPort"), port.TargetPort)...)
		if port.AppProtocol != nil {
			errs = append(errs, validateQualifiedName(path.Child("appProtocol"), *port.AppProtocol)...)
		}
		if spec.Type == corev1.ServiceTypeClusterIP && port.NodePort != 0 {
			errs = append(errs, field.Forbidden(path.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
		}
	}
	return append(errs, duplicateServicePorts(path, spec.Ports)...)
}

func duplicateServicePorts(path *field.Path, ports []corev1.ServicePort) field.ErrorList {
	var errs field.ErrorList
	type number struct {
		protocol corev1.Protocol
		port     int32
	}
	nodePorts, numbers := seen[number]{}, seen[number]{}
	for i, port := range ports {
		if port.NodePort != 0 && nodePorts.before(number{port.Protocol, port.NodePort}) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("nodePort"), port.NodePort))
		}
	}
	for i, port := range ports {
		if numbers.before(number{port.Protocol, port.Port}) {
			errs = append(errs, field.Duplicate(path.Index(i), corev1.ServicePort{Protocol: port.Protocol, Port: port.Port}))
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

func validateLoadBalancer(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	const only = "may only be used when `type` is 'LoadBalancer'"
	isLoadBalancer := spec.Type == corev1.ServiceTypeLoadBalancer
	if len(spec.LoadBalancerSourceRanges) > 0 {
		// Kubernetes, too, spells this path with a capital.
		path := path.Child("LoadBalancerSourceRanges")
		if !isLoadBalancer {
			errs = append(errs, field.Forbidden(path, only))
		}
		for i, cidr := range spec.LoadBalancerSourceRanges {
			errs = append(errs, validation.IsValidCIDR(path.Index(i), strings.TrimSpace(cidr))...)
		}
	}
	if spec.AllocateLoadBalancerNodePorts != nil && !isLoadBalancer {
		errs = append(errs, field.Forbidden(path.Child("allocateLoadBalancerNodePorts"), only))
	}
	if spec.LoadBalancerClass != nil {
		if !isLoadBalancer {
			errs = append(errs, field.Forbidden(path.Child("loadBalancerClass"), only))
		}
		errs = append(errs, validateQualifiedName(path.Child("loadBalancerClass"), *spec.LoadBalancerClass)...)
	}
	return errs
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
		corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameNode, corev1.ServiceTrafficDistributionPreferSameZone)...)
}

func validateLoadBalancerStatus(status *corev1.LoadBalancerStatus, path *field.Path, kind corev1.ServiceType) field.ErrorList {
	var errs field.ErrorList
	path = path.Child("ingress")
	if kind != corev1.ServiceTypeLoadBalancer && len(status.Ingress) > 0 {
		errs = append(errs, field.Forbidden(path, "may only be used when `spec.type` is \"LoadBalancer\""))
	}
	for i, ingress := range status.Ingress {
		path := path.Index(i)
		if ingress.IP != "" {
			errs = append(errs, validation.IsValidIP(path.Child("ip"), ingress.IP)...)
		} else if ingress.IPMode != nil {
			errs = append(errs, field.Forbidden(path.Child("ipMode"), "may not be specified when `ip` is not set"))
		}
		errs = append(errs, optionallyOneOf(path.Child("ipMode"), ingress.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
		if ingress.Hostname != "" {
			errs = append(errs, validateDNSSubdomain(path.Child("hostname"), ingress.Hostname)...)
			if len(validation.IsValidIP(path, ingress.Hostname)) == 0 {
				errs = append(errs, field.Invalid(path.Child("hostname"), ingress.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

// policyOf is the IP family policy, single-stack if there is none.
func policyOf(spec *corev1.ServiceSpec) corev1.IPFamilyPolicy {
	return ptr.Deref(spec.IPFamilyPolicy, corev1.IPFamilyPolicySingleStack)
}
