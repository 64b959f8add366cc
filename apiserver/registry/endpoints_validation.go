//lint:file-ignore SA1019 Kubernetes deprecates v1 Endpoints, and serves them.

package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// validateEndpointsUpdate lets subsets that were valid once stay.
func validateEndpointsUpdate(endpoints, old *corev1.Endpoints) field.ErrorList {
	errs := validateEndpoints(endpoints)
	if len(errs) > 0 && equality.Semantic.DeepEqual(endpoints.Subsets, old.Subsets) {
		return nil
	}
	return errs
}

func validateEndpoints(endpoints *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	for i := range endpoints.Subsets {
		subset, path := &endpoints.Subsets[i], field.NewPath("subsets").Index(i)
		if len(subset.Addresses) == 0 && len(subset.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(path, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range subset.Addresses {
			errs = append(errs, validateEndpointAddress(path.Child("addresses").Index(j), &subset.Addresses[j])...)
		}
		for j := range subset.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(path.Child("notReadyAddresses").Index(j), &subset.NotReadyAddresses[j])...)
		}
		for j, port := range subset.Ports {
			path := path.Child("ports").Index(j)
			if port.Name != "" {
				errs = append(errs, validateDNSLabel(path.Child("name"), port.Name)...)
			} else if len(subset.Ports) > 1 {
				errs = append(errs, field.Required(path.Child("name"), ""))
			}
			errs = append(errs, validatePortNumber(path.Child("port"), port.Port)...)
			errs = append(errs, validateProtocol(path.Child("protocol"), port.Protocol)...)
			if port.AppProtocol != nil {
				errs = append(errs, validateQualifiedName(path.Child("appProtocol"), *port.AppProtocol)...)
			}
		}
	}
	return errs
}

func validateEndpointAddress(path *field.Path, address *corev1.EndpointAddress) field.ErrorList {
	errs := validation.IsValidIP(path.Child("ip"), address.IP)
	if address.Hostname != "" {
		errs = append(errs, validateDNSLabel(path.Child("hostname"), address.Hostname)...)
	}
	if address.NodeName != nil {
		errs = append(errs, invalidFor(path.Child("nodeName"), *address.NodeName, apivalidation.NameIsDNSSubdomain(*address.NodeName, false))...)
	}
	if netutils.ParseIPSloppy(address.IP) == nil {
		return append(errs, field.Invalid(path.Child("ip"), address.IP, "must be a valid IP address")) // said twice, as Kubernetes does
	}
	return append(errs, validateOrdinaryIP(path.Child("ip"), address.IP)...)
}

func endpointsWarnings(obj, _ Object) []string {
	var warnings []string
	if obj.GetLabels()["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
		return nil // it writes what is right
	}
	for i, subset := range obj.(*corev1.Endpoints).Subsets {
		path := field.NewPath("subsets").Index(i)
		for j, address := range subset.Addresses {
			warnings = append(warnings, validation.GetWarningsForIP(path.Child("addresses").Index(j).Child("ip"), address.IP)...)
		}
		for j, address := range subset.NotReadyAddresses {
			warnings = append(warnings, validation.GetWarningsForIP(path.Child("notReadyAddresses").Index(j).Child("ip"), address.IP)...)
		}
	}
	return warnings
}
