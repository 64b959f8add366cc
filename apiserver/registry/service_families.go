package registry

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// serviceFamilies are the IP families that the cluster has addresses for, the default one first.
type serviceFamilies []corev1.IPFamily

// fill fills in IP families and their policy (KEP-563), or says why what was asked for does not go. before is nil on create.
// An IP family is never added or taken away because the cluster has changed: a policy, families or addresses must say so.
func (f serviceFamilies) fill(service, before *corev1.Service) field.ErrorList {
	spec := &service.Spec
	if spec.Type == corev1.ServiceTypeExternalName || samePreferDualStack(service, before) {
		return nil
	}
	defaultFamilyPolicy(spec, before)
	if errs := validateClusterIPs(service, before); len(errs) > 0 {
		return errs
	}
	errs := f.matchPolicy(spec, before)
	errs = append(errs, f.inferFromClusterIPs(spec)...)
	if len(errs) > 0 {
		return errs
	}
	anyFamily := spec.ClusterIP == corev1.ClusterIPNone && len(spec.Selector) == 0
	if !anyFamily {
		errs = f.configured(spec)
	}
	if len(errs) > 0 {
		return errs
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{f[0]}
	}
	// A headless Service without selector may have endpoints of both families, whatever the cluster has.
	if len(spec.IPFamilies) == 1 && *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack && (anyFamily || len(f) == 2) {
		spec.IPFamilies = append(spec.IPFamilies, otherFamily(spec.IPFamilies[0]))
	}
	return nil
}

// samePreferDualStack reports whether nothing was said about the families of a Service that takes as many as there are.
func samePreferDualStack(service, before *corev1.Service) bool {
	if before == nil || service.Spec.IPFamilyPolicy == nil || service.Spec.Type != before.Spec.Type {
		return false
	}
	const prefer = corev1.IPFamilyPolicyPreferDualStack
	return hasClusterIPType(service.Spec.Type) && *service.Spec.IPFamilyPolicy == prefer &&
		ptr.Deref(before.Spec.IPFamilyPolicy, prefer) == prefer &&
		slices.Equal(service.Spec.ClusterIPs, before.Spec.ClusterIPs) && slices.Equal(service.Spec.IPFamilies, before.Spec.IPFamilies)
}

func defaultFamilyPolicy(spec *corev1.ServiceSpec, before *corev1.Service) {
	switch {
	case spec.IPFamilyPolicy != nil:
	case before != nil && before.Spec.IPFamilyPolicy != nil:
		spec.IPFamilyPolicy = ptr.To(*before.Spec.IPFamilyPolicy)
	case spec.ClusterIP == corev1.ClusterIPNone && len(spec.Selector) == 0:
		spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
	default:
		spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	}
}

// matchPolicy gives up a second address or family that SingleStack has no place for, if the client left it as it was.
func (f serviceFamilies) matchPolicy(spec *corev1.ServiceSpec, before *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	path, policy := field.NewPath("spec", "ipFamilyPolicy"), *spec.IPFamilyPolicy
	if before != nil && policy == corev1.IPFamilyPolicySingleStack {
		if len(spec.ClusterIPs) > 1 && slices.Equal(spec.ClusterIPs, before.Spec.ClusterIPs) {
			spec.ClusterIPs = spec.ClusterIPs[:1]
		}
		if len(spec.IPFamilies) > 1 && slices.Equal(spec.IPFamilies, before.Spec.IPFamilies) {
			spec.IPFamilies = spec.IPFamilies[:1]
		}
	}
	if before != nil && policy != corev1.IPFamilyPolicySingleStack {
		if n := len(spec.ClusterIPs); n > 0 && n < len(before.Spec.ClusterIPs) {
			errs = append(errs, field.Invalid(path, spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary cluster IP"))
		}
		if n := len(spec.IPFamilies); n > 0 && n < len(before.Spec.IPFamilies) {
			errs = append(errs, field.Invalid(path, spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary IP family"))
		}
	}
	if policy == corev1.IPFamilyPolicySingleStack {
		const needs = "must be 'RequireDualStack' or 'PreferDualStack' when multiple "
		if len(spec.ClusterIPs) == 2 {
			errs = append(errs, field.Invalid(path, spec.IPFamilyPolicy, needs+"cluster IPs are specified"))
		}
		if len(spec.IPFamilies) == 2 {
			errs = append(errs, field.Invalid(path, spec.IPFamilyPolicy, needs+"IP families are specified"))
		}
	}
	return errs
}

// inferFromClusterIPs adds the families of addresses that were asked for.
func (f serviceFamilies) inferFromClusterIPs(spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			break
		}
		address, err := netip.ParseAddr(ip)
		if err != nil || i < len(spec.IPFamilies) {
			continue
		}
		family := familyOf(address)
		if !slices.Contains(f, family) {
			errs = append(errs, field.Invalid(field.NewPath("spec", "clusterIPs").Index(i), spec.ClusterIPs,
				fmt.Sprintf("%s is not configured on this cluster", family)))
			continue
		}
		spec.IPFamilies = append(spec.IPFamilies, family)
	}
	return errs
}

// configured refuses families that the cluster does not have.
func (f serviceFamilies) configured(spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	if *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(f) < 2 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), spec.IPFamilyPolicy,
			"this cluster is not configured for dual-stack services"))
	}
	for i, family := range spec.IPFamilies {
		if !slices.Contains(f, family) {
			errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilies").Index(i), family, "not configured on this cluster"))
		}
	}
	return errs
}

func otherFamily(family corev1.IPFamily) corev1.IPFamily {
	if family == corev1.IPv4Protocol {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}
