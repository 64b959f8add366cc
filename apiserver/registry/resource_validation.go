package registry

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// otherStandardResources are known to Kubernetes, but not something that a container can ask for.
var otherStandardResources = []corev1.ResourceName{
	corev1.ResourceStorage, corev1.ResourcePods, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceQuotas,
	corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts,
	corev1.ResourceServicesLoadBalancers, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceLimitsCPU,
	corev1.ResourceLimitsMemory, corev1.ResourceRequestsStorage,
}

func validateResources(path *field.Path, resources *corev1.ResourceRequirements) field.ErrorList {
	var errs field.ErrorList
	compute, hugePages := false, false
	note := func(name corev1.ResourceName) {
		compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
		hugePages = hugePages || isHugePages(name)
	}
	for _, name := range resourceNames(resources.Limits) {
		errs = append(errs, validateResource(path.Child("limits").Key(string(name)), name, resources.Limits[name])...)
		note(name)
	}
	for _, name := range resourceNames(resources.Requests) {
		request := resources.Requests[name]
		errs = append(errs, validateResource(path.Child("requests").Key(string(name)), name, request)...)
		note(name)
		limit, limited := resources.Limits[name]
		switch {
		case limited && !canOvercommit(name) && request.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(path.Child("requests"), request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String())))
		case limited && canOvercommit(name) && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(path.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		case !limited && !canOvercommit(name):
			errs = append(errs, field.Required(path.Child("limits"), "Limit must be set for non overcommitable resources"))
		}
	}
	if hugePages && !compute {
		errs = append(errs, field.Forbidden(path, "HugePages require cpu or memory"))
	}
	return errs
}

func resourceNames(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func validateResource(path *field.Path, name corev1.ResourceName, quantity resource.Quantity) field.ErrorList {
	errs := validateContainerResourceName(path, name)
	return append(errs, validateQuantity(path, name, quantity)...)
}

func validateContainerResourceName(path *field.Path, name corev1.ResourceName) field.ErrorList {
	errs := invalidFor(path, name, validation.IsQualifiedName(string(name)))
	if isQualified(string(name)) {
		if !isNativeResource(name) && strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) {
			errs = append(errs, field.Invalid(path, name, "doesn't follow extended resource name standard"))
		}
		return errs
	}
	if isContainerResource(name) {
		return errs
	}
	if len(errs) == 0 && !slices.Contains(otherStandardResources, name) {
		errs = append(errs, field.Invalid(path, name, "must be a standard resource type or fully qualified"))
	}
	return append(errs, field.Invalid(path, name, "must be a standard resource for containers"))
}

func validateQuantity(path *field.Path, name corev1.ResourceName, quantity resource.Quantity) field.ErrorList {
	var errs field.ErrorList
	if quantity.Sign() < 0 {
		errs = append(errs, field.Invalid(path, quantity.String(), apivalidation.IsNegativeErrorMsg))
	}
	whole := name == corev1.ResourcePods || (isQualified(string(name)) && !isNativeResource(name))
	if whole && quantity.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, quantity, "must be an integer"))
	}
	return errs
}

func isContainerResource(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage || isHugePages(name)
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// isNativeResource reports whether Kubernetes itself, not a device plugin, defines the resource.
func isNativeResource(name corev1.ResourceName) bool {
	return !isQualified(string(name)) || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

func canOvercommit(name corev1.ResourceName) bool {
	return isNativeResource(name) && !isHugePages(name)
}
