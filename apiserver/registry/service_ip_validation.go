package registry

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateClusterIPs checks ClusterIPs and IP families for a cluster with IPv4 Services only.
func validateClusterIPs(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	if spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var errs field.ErrorList
	ips := path.Child("clusterIPs")
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) > 0:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "must be empty when `clusterIP` is not specified"))
	case len(spec.ClusterIPs) > 0 && spec.ClusterIPs[0] != spec.ClusterIP:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "first value must match `clusterIP`"))
	}
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			if i > 0 || len(spec.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		ipErrs := validation.IsValidIP(ips.Index(i), ip)
		if address, err := netip.ParseAddr(ip); len(ipErrs) == 0 && err == nil && address.Is6() {
			ipErrs = append(ipErrs, field.Invalid(ips.Index(i), spec.ClusterIPs, "IPv6 is not configured on this cluster"))
		}
		errs = append(errs, ipErrs...)
	}
	return append(errs, validateIPFamilies(path, spec)...)
}

func validateIPFamilies(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	errs := optionallyOneOf(path.Child("ipFamilyPolicy"), spec.IPFamilyPolicy, corev1.IPFamilyPolicyPreferDualStack,
		corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)
	families := seen[corev1.IPFamily]{}
	anyFamily := isHeadless(spec) && len(spec.Selector) == 0
	for i, family := range spec.IPFamilies {
		path := path.Child("ipFamilies").Index(i)
		familyErrs := oneOf(path, family, corev1.IPv4Protocol, corev1.IPv6Protocol)
		switch {
		case families.before(family):
			familyErrs = append(familyErrs, field.Duplicate(path, family))
		case len(familyErrs) == 0 && family == corev1.IPv6Protocol && !anyFamily:
			familyErrs = append(familyErrs, field.Invalid(path, family, "not configured on this cluster"))
		}
		errs = append(errs, familyErrs...)
	}
	policy := path.Child("ipFamilyPolicy")
	if policyOf(spec) == corev1.IPFamilyPolicyRequireDualStack && !anyFamily {
		errs = append(errs, field.Invalid(policy, spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	if spec.IPFamilyPolicy != nil && policyOf(spec) == corev1.IPFamilyPolicySingleStack && len(spec.IPFamilies) == 2 {
		errs = append(errs, field.Invalid(policy, spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
	}
	return errs
}

func validateServiceUpdate(service, old *corev1.Service) field.ErrorList {
	path, spec, before := field.NewPath("spec"), &service.Spec, &old.Spec
	var errs field.ErrorList
	if hasClusterIPType(spec.Type) && hasClusterIPType(before.Type) {
		ips := path.Child("clusterIPs").Index(0)
		switch {
		case len(before.ClusterIPs) == 0:
		case len(spec.ClusterIPs) == 0:
			errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "primary clusterIP can not be unset"))
		case spec.ClusterIPs[0] != before.ClusterIPs[0]:
			errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "may not change once set"))
		}
		if len(before.IPFamilies) > 0 && len(spec.IPFamilies) > 0 && spec.IPFamilies[0] != before.IPFamilies[0] {
			errs = append(errs, field.Invalid(path.Child("ipFamilies").Index(0), spec.IPFamilies, "may not change once set"))
		}
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && before.Type == corev1.ServiceTypeLoadBalancer {
		if !slices.Equal(class(spec), class(before)) {
			errs = append(errs, field.Invalid(path.Child("loadBalancerClass"), spec.LoadBalancerClass, "may not change once set"))
		}
	}
	if needsHealthCheckNodePort(spec) && needsHealthCheckNodePort(before) && spec.HealthCheckNodePort != before.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(path.Child("healthCheckNodePort"), "field is immutable"))
	}
	return append(errs, validateService(service)...)
}

// class is the load-balancer class, if there is one.
func class(spec *corev1.ServiceSpec) []string {
	if spec.LoadBalancerClass == nil {
		return nil
	}
	return []string{*spec.LoadBalancerClass}
}

// validateOrdinaryIP refuses addresses by which traffic could be turned against the node itself.
func validateOrdinaryIP(path *field.Path, ip string) field.ErrorList {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return nil
	}
	var reason string
	switch {
	case address.IsUnspecified():
		reason = fmt.Sprintf("may not be unspecified (%v)", ip)
	case address.IsLoopback():
		reason = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
	case address.IsLinkLocalUnicast():
		reason = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
	case address.IsLinkLocalMulticast():
		reason = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(path, ip, reason)}
}
