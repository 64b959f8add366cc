package registry

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateClusterIPs checks ClusterIPs, IP families and their policy among themselves, without regard to what the cluster has.
// Addresses that old has (it may be nil) were valid once and stay so.
func validateClusterIPs(service, old *corev1.Service) field.ErrorList {
	spec, path := &service.Spec, field.NewPath("spec")
	if spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	ips := path.Child("clusterIPs")
	var errs field.ErrorList
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) > 0:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "must be empty when `clusterIP` is not specified"))
	case spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
		errs = append(errs, field.Required(ips, ""))
	case spec.ClusterIP != "" && spec.ClusterIPs[0] != spec.ClusterIP:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "first value must match `clusterIP`"))
	}
	families := seen[corev1.IPFamily]{}
	for i, family := range spec.IPFamilies {
		path := path.Child("ipFamilies").Index(i)
		if family != corev1.IPv4Protocol && family != corev1.IPv6Protocol {
			errs = append(errs, field.NotSupported(path, family, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}))
		}
		if families.before(family) {
			errs = append(errs, field.Duplicate(path, family))
		}
	}
	errs = append(errs, optionallyOneOf(path.Child("ipFamilyPolicy"), spec.IPFamilyPolicy, corev1.IPFamilyPolicyPreferDualStack,
		corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	addressErrs, readable := validateEachClusterIP(ips, spec.ClusterIPs, old)
	errs = append(errs, addressErrs...)
	if !readable {
		return errs
	}
	return append(errs, matchFamilies(ips, spec)...)
}

// validateEachClusterIP also reports whether all of them could be read.
func validateEachClusterIP(path *field.Path, ips []string, old *corev1.Service) (errs field.ErrorList, readable bool) {
	var known []string
	if old != nil {
		known = old.Spec.ClusterIPs
	}
	readable = true
	for i, ip := range ips {
		var wrong field.ErrorList
		switch {
		case i == 0 && ip == corev1.ClusterIPNone && len(ips) > 1:
			wrong = field.ErrorList{field.Invalid(path, ips, "'None' must be the first and only value")}
		case i == 0 && ip == corev1.ClusterIPNone:
		default:
			wrong = validation.IsValidIPForLegacyField(path.Index(i), ip, true, known)
		}
		readable = readable && len(wrong) == 0
		errs = append(errs, wrong...)
	}
	if len(ips) > 2 {
		errs = append(errs, field.Invalid(path, ips, "may only hold up to 2 values"))
	}
	return errs, readable
}

// matchFamilies checks readable ClusterIPs against the families that were asked for.
func matchFamilies(path *field.Path, spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	families := seen[corev1.IPFamily]{}
	for i, ip := range spec.ClusterIPs {
		address, err := netip.ParseAddr(ip)
		if err != nil {
			continue // None
		}
		families.before(familyOf(address))
		if i < len(spec.IPFamilies) && spec.IPFamilies[i] == otherFamily(familyOf(address)) {
			errs = append(errs, field.Invalid(path.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%v]`", spec.IPFamilies[i], i)))
		}
	}
	if len(spec.ClusterIPs) > 1 && len(families) < 2 {
		errs = append(errs, field.Invalid(path, spec.ClusterIPs, "may specify no more than one IP for each IP family"))
	}
	return errs
}

func validateServiceUpdate(service, old *corev1.Service) field.ErrorList {
	path, spec, before := field.NewPath("spec"), &service.Spec, &old.Spec
	var errs field.ErrorList
	if needsClusterIP(spec) && needsClusterIP(before) {
		headless, wasHeadless := isHeadless(spec), isHeadless(before)
		if !headless || !wasHeadless {
			errs = append(errs, keptClusterIPs(path, spec, before)...)
		}
		if !headless && !wasHeadless {
			errs = append(errs, keptFamilies(path, spec, before)...)
		}
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && before.Type == corev1.ServiceTypeLoadBalancer &&
		!slices.Equal(class(spec), class(before)) {
		errs = append(errs, field.Invalid(path.Child("loadBalancerClass"), spec.LoadBalancerClass, unchangeable))
	}
	errs = append(errs, validateLoadBalancerClass(path, spec)...)
	if needsHealthCheckNodePort(spec) && needsHealthCheckNodePort(before) && spec.HealthCheckNodePort != before.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(path.Child("healthCheckNodePort"), "field is immutable"))
	}
	return append(errs, validateService(service, old)...)
}

const unchangeable = "may not change once set"

// keptClusterIPs lets only a second address come and go, and go only if the policy says so.
func keptClusterIPs(path *field.Path, spec, before *corev1.ServiceSpec) field.ErrorList {
	ips, was := spec.ClusterIPs, before.ClusterIPs
	at := path.Child("clusterIPs")
	var errs field.ErrorList
	switch {
	case len(ips) == len(was):
		for i := range was {
			if ips[i] != was[i] {
				errs = append(errs, field.Invalid(at.Index(i), ips, unchangeable))
			}
		}
		return errs
	case len(ips) == 0:
		return field.ErrorList{field.Invalid(at.Index(0), ips, "primary clusterIP can not be unset")}
	case len(was) > 0 && ips[0] != was[0]:
		errs = append(errs, field.Invalid(at.Index(0), ips, unchangeable))
	}
	if len(ips) == 1 && len(was) > 1 && policyOf(spec) != corev1.IPFamilyPolicySingleStack {
		errs = append(errs, field.Invalid(path.Child("ipFamilyPolicy"), spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary clusterIP"))
	}
	return errs
}

// keptFamilies is keptClusterIPs for the families, with the paths and values that Kubernetes names.
func keptFamilies(path *field.Path, spec, before *corev1.ServiceSpec) field.ErrorList {
	families, was := spec.IPFamilies, before.IPFamilies
	at := path.Child("ipFamilies").Index(0)
	var errs field.ErrorList
	if len(families) == len(was) {
		for i := range was {
			if families[i] != was[i] {
				errs = append(errs, field.Invalid(at, families, unchangeable))
			}
		}
		return errs
	}
	if len(families) < len(was) && len(spec.ClusterIPs) == 0 {
		errs = append(errs, field.Invalid(at, families, "primary ipFamily can not be unset"))
	}
	if len(families) > 0 && len(was) > 0 && families[0] != was[0] {
		errs = append(errs, field.Invalid(at, spec.ClusterIPs, unchangeable))
	}
	if len(families) == 1 && len(was) > 1 && policyOf(spec) != corev1.IPFamilyPolicySingleStack {
		errs = append(errs, field.Invalid(path.Child("ipFamilyPolicy"), spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary ipFamily"))
	}
	return errs
}

// policyOf is the IP family policy, "" if there is none.
func policyOf(spec *corev1.ServiceSpec) corev1.IPFamilyPolicy {
	if spec.IPFamilyPolicy == nil {
		return ""
	}
	return *spec.IPFamilyPolicy
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
