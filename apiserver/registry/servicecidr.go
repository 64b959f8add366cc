package registry

import (
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// DefaultServiceCIDR is the name of the ServiceCIDR that the server makes of its own ranges.
	DefaultServiceCIDR = "kubernetes"
	// ServiceCIDRFinalizer keeps a ServiceCIDR while its addresses are used.
	ServiceCIDRFinalizer = "networking.k8s.io/service-cidr-finalizer"
)

var serviceCIDRResource = networkingv1.Resource("servicecidrs")

func serviceCIDRKind(addresses *addressPool) *Kind {
	return &Kind{
		GroupVersionKind: networkingv1.SchemeGroupVersion.WithKind("ServiceCIDR"),
		Resource:         "servicecidrs",
		Singular:         "servicecidr",
		New:              func() Object { return &networkingv1.ServiceCIDR{} },
		NewList:          func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
		PrepareForCreate: func(obj Object) { prepareServiceCIDR(obj.(*networkingv1.ServiceCIDR)) },
		PrepareForUpdate: func(obj, old Object) {
			obj.(*networkingv1.ServiceCIDR).Status = old.(*networkingv1.ServiceCIDR).DeepCopy().Status
		},
		Validate: func(obj Object) field.ErrorList { return validateServiceCIDR(obj.(*networkingv1.ServiceCIDR)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateServiceCIDRUpdate(obj.(*networkingv1.ServiceCIDR), old.(*networkingv1.ServiceCIDR))
		},
		ValidateName: apivalidation.NameIsDNSSubdomain,
		InUse:        func(obj Object) bool { return addresses.usedIn(obj.(*networkingv1.ServiceCIDR)) },
		Columns: []metav1.TableColumnDefinition{
			nameColumn(), column("CIDRs", "string", networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"]), ageColumn(),
		},
		Cells: func(obj Object) []any {
			return []any{obj.GetName(), strings.Join(obj.(*networkingv1.ServiceCIDR).Spec.CIDRs, ","), age(obj)}
		},
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				cidr, before := obj.(*networkingv1.ServiceCIDR), old.(*networkingv1.ServiceCIDR).DeepCopy()
				cidr.Spec = before.Spec
				metav1.ResetObjectMetaForStatus(cidr, before)
			},
		},
	}
}

// prepareServiceCIDR makes a range ready at once, and guards it. Kubernetes' service-cidr-controller does so a moment later.
func prepareServiceCIDR(cidr *networkingv1.ServiceCIDR) {
	message := "Kubernetes Service CIDR is ready"
	if cidr.Name == DefaultServiceCIDR {
		message = "Kubernetes default Service CIDR is ready"
	}
	cidr.Status = networkingv1.ServiceCIDRStatus{Conditions: []metav1.Condition{{
		Type:               networkingv1.ServiceCIDRConditionReady,
		Status:             metav1.ConditionTrue,
		Message:            message,
		LastTransitionTime: metav1.NewTime(now()).Rfc3339Copy(),
	}}}
	if !slices.Contains(cidr.Finalizers, ServiceCIDRFinalizer) {
		cidr.Finalizers = append(cidr.Finalizers, ServiceCIDRFinalizer)
	}
}

func validateServiceCIDR(cidr *networkingv1.ServiceCIDR) field.ErrorList {
	path, cidrs := field.NewPath("spec", "cidrs"), cidr.Spec.CIDRs
	const maxCIDRs = 2
	switch {
	case len(cidrs) == 0:
		return field.ErrorList{field.Required(path, "at least one CIDR required")}
	case len(cidrs) > maxCIDRs:
		return field.ErrorList{field.Invalid(path, struct{ CIDRs []string }{cidrs}, "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	families := map[bool]bool{}
	for i, text := range cidrs {
		errs = append(errs, validation.IsValidCIDR(path.Index(i), text)...)
		if prefix, err := netip.ParsePrefix(text); err == nil {
			if families[prefix.Addr().Is4()] {
				errs = append(errs, field.Invalid(path, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
			}
			families[prefix.Addr().Is4()] = true
		}
	}
	return errs
}

// validateServiceCIDRUpdate lets nothing change, but for a second range of the other family.
func validateServiceCIDRUpdate(cidr, old *networkingv1.ServiceCIDR) field.ErrorList {
	path, cidrs, before := field.NewPath("spec", "cidrs"), cidr.Spec.CIDRs, old.Spec.CIDRs
	upgraded := len(before) == 1 && len(cidrs) == 2
	if len(cidrs) != len(before) && !upgraded {
		return field.ErrorList{field.Invalid(path, cidrs, apivalidation.FieldImmutableErrorMsg)}
	}
	var errs field.ErrorList
	for i := range before {
		if cidrs[i] != before[i] {
			errs = append(errs, field.Invalid(path.Index(i), cidrs[i], apivalidation.FieldImmutableErrorMsg))
		}
	}
	if upgraded {
		errs = append(errs, validateServiceCIDR(cidr)...)
	}
	return errs
}

// ServiceCIDRHas reports whether a ServiceCIDR has an address for Services.
func ServiceCIDRHas(cidr *networkingv1.ServiceCIDR, address netip.Addr) bool {
	return slices.ContainsFunc(prefixesOf(cidr), func(prefix netip.Prefix) bool { return serviceAddressIn(prefix, address) })
}
