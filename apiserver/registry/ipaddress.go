package registry

import (
	"context"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ipAllocator is the value of the label managed-by of the IPAddresses that are made for Services.
const ipAllocator = "ipallocator.k8s.io"

var ipAddressResource = networkingv1.Resource("ipaddresses")

func ipAddressKind(addresses *addressPool) *Kind {
	kind := &Kind{
		GroupVersionKind: networkingv1.SchemeGroupVersion.WithKind("IPAddress"),
		Resource:         "ipaddresses",
		Singular:         "ipaddress",
		ShortNames:       []string{"ip"},
		New:              func() Object { return &networkingv1.IPAddress{} },
		NewList:          func() runtime.Object { return &networkingv1.IPAddressList{} },
		Validate:         func(obj Object) field.ErrorList { return validateIPAddress(obj.(*networkingv1.IPAddress)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			address, before := obj.(*networkingv1.IPAddress), old.(*networkingv1.IPAddress)
			return append(validateIPAddress(address), apivalidation.ValidateImmutableField(address.Spec.ParentRef,
				before.Spec.ParentRef, field.NewPath("spec", "parentRef"))...)
		},
		ValidateName: func(name string, _ bool) []string {
			var messages []string
			for _, err := range validation.IsValidIP(nil, name) {
				messages = append(messages, err.Detail)
			}
			return messages
		},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(), column("ParentRef", "string", networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"]), ageColumn(),
		},
		Cells: func(obj Object) []any {
			return []any{obj.GetName(), parentText(obj.(*networkingv1.IPAddress).Spec.ParentRef), age(obj)}
		},
	}
	kind.Admit = func(_ context.Context, obj, old Object) (func(bool), error) {
		address, err := netip.ParseAddr(obj.GetName())
		if err != nil || old != nil {
			return nil, nil
		}
		addresses.mu.Lock()
		defer addresses.mu.Unlock()
		if err := addresses.reserve(address); err != nil {
			return nil, apierrors.NewAlreadyExists(kind.GroupResource(), obj.GetName())
		}
		return func(bool) { addresses.free([]netip.Addr{address}) }, nil
	}
	return kind
}

// ServiceIPAddress makes the IPAddress object of a Service's address.
func ServiceIPAddress(service *corev1.Service, address netip.Addr) *networkingv1.IPAddress {
	obj := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: address.String(), Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: string(familyOf(address)),
			networkingv1.LabelManagedBy:       ipAllocator,
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: parentOf(service)},
	}
	obj.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind("IPAddress"))
	return obj
}

func parentOf(service *corev1.Service) *networkingv1.ParentReference {
	return &networkingv1.ParentReference{Resource: "services", Namespace: service.Namespace, Name: service.Name}
}

// BelongsTo reports whether an IPAddress was made for a Service.
func BelongsTo(address *networkingv1.IPAddress, service *corev1.Service) bool {
	return address.Spec.ParentRef != nil && *address.Spec.ParentRef == *parentOf(service)
}

// HasAllocatorLabels reports whether an IPAddress has the labels that ServiceIPAddress gives.
func HasAllocatorLabels(address *networkingv1.IPAddress) bool {
	parsed, err := netip.ParseAddr(address.Name)
	return err == nil && address.Labels[networkingv1.LabelManagedBy] == ipAllocator &&
		address.Labels[networkingv1.LabelIPAddressFamily] == string(familyOf(parsed))
}

func validateIPAddress(address *networkingv1.IPAddress) field.ErrorList {
	parent, at := address.Spec.ParentRef, field.NewPath("spec", "parentRef")
	if parent == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	if parent.Group != "" {
		errs = append(errs, validateDNSSubdomain(at.Child("group"), parent.Group)...)
	}
	for _, required := range []struct{ name, value string }{{"resource", parent.Resource}, {"name", parent.Name}} {
		if required.value == "" {
			errs = append(errs, field.Required(at.Child(required.name), ""))
			continue
		}
		errs = append(errs, invalidFor(at.Child(required.name), required.value, content.IsPathSegmentName(required.value))...)
	}
	if parent.Namespace != "" {
		errs = append(errs, invalidFor(at.Child("namespace"), parent.Namespace, content.IsPathSegmentName(parent.Namespace))...)
	}
	return errs
}

// parentText is "services/default/web".
func parentText(parent *networkingv1.ParentReference) string {
	if parent == nil {
		return "<none>"
	}
	resource := schema.GroupResource{Group: parent.Group, Resource: parent.Resource}
	parts := []string{strings.ToLower(resource.String())}
	if parent.Namespace != "" {
		parts = append(parts, parent.Namespace)
	}
	return strings.Join(append(parts, parent.Name), "/")
}
