package registry

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

const (
	maxSliceEndpoints = 1000
	maxSliceAddresses = 100
	maxSlicePorts     = 20000
)

func validateEndpointSlice(slice *discoveryv1.EndpointSlice) field.ErrorList {
	errs := oneOf(field.NewPath("addressType"), slice.AddressType, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	endpoints := field.NewPath("endpoints")
	if len(slice.Endpoints) > maxSliceEndpoints {
		errs = append(errs, field.TooMany(endpoints, len(slice.Endpoints), maxSliceEndpoints))
	} else {
		for i := range slice.Endpoints {
			errs = append(errs, validateSliceEndpoint(endpoints.Index(i), &slice.Endpoints[i], slice.AddressType)...)
		}
	}
	return append(errs, validateSlicePorts(field.NewPath("ports"), slice.Ports)...)
}

func validateEndpointSliceUpdate(slice, old *discoveryv1.EndpointSlice) field.ErrorList {
	errs := validateEndpointSlice(slice)
	return append(errs, apivalidation.ValidateImmutableField(slice.AddressType, old.AddressType, field.NewPath("addressType"))...)
}

func validateSliceEndpoint(path *field.Path, endpoint *discoveryv1.Endpoint, kind discoveryv1.AddressType) field.ErrorList {
	var errs field.ErrorList
	addresses := path.Child("addresses")
	if len(endpoint.Addresses) == 0 {
		errs = append(errs, field.Required(addresses, "must contain at least 1 address"))
	} else if len(endpoint.Addresses) > maxSliceAddresses {
		errs = append(errs, field.TooMany(addresses, len(endpoint.Addresses), maxSliceAddresses))
	}
	for i, address := range endpoint.Addresses {
		errs = append(errs, validateSliceAddress(addresses.Index(i), address, kind)...)
	}
	if endpoint.NodeName != nil {
		errs = append(errs, invalidFor(path.Child("nodeName"), *endpoint.NodeName, apivalidation.NameIsDNSSubdomain(*endpoint.NodeName, false))...)
	}
	if endpoint.Hostname != nil {
		errs = append(errs, validateDNSLabel(path.Child("hostname"), *endpoint.Hostname)...)
	}
	if endpoint.Hints != nil {
		zones := seen[string]{}
		for i, zone := range endpoint.Hints.ForZones {
			path := path.Child("hints", "forZones").Index(i).Child("name")
			if zones.before(zone.Name) {
				errs = append(errs, field.Duplicate(path, zone.Name))
			}
			errs = append(errs, invalidFor(path, zone.Name, validation.IsValidLabelValue(zone.Name))...)
		}
	}
	return errs
}

func validateSliceAddress(path *field.Path, address string, kind discoveryv1.AddressType) field.ErrorList {
	if kind == discoveryv1.AddressTypeFQDN {
		return validation.IsFullyQualifiedDomainName(path, address)
	}
	errs := validation.IsValidIP(path, address)
	if len(errs) > 0 {
		return errs
	}
	parsed, err := netip.ParseAddr(address)
	switch {
	case kind == discoveryv1.AddressTypeIPv4 && (err != nil || !parsed.Is4()):
		return field.ErrorList{field.Invalid(path, address, "must be an IPv4 address")}
	case kind == discoveryv1.AddressTypeIPv6 && (err != nil || !parsed.Is6()):
		return field.ErrorList{field.Invalid(path, address, "must be an IPv6 address")}
	}
	return validateOrdinaryIP(path, address)
}

func validateSlicePorts(path *field.Path, ports []discoveryv1.EndpointPort) field.ErrorList {
	if len(ports) > maxSlicePorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxSlicePorts)}
	}
	var errs field.ErrorList
	names := seen[string]{}
	for i, port := range ports {
		path := path.Index(i)
		name := ptr.Deref(port.Name, "")
		if name != "" {
			errs = append(errs, validateDNSLabel(path.Child("name"), name)...)
		}
		if names.before(name) {
			errs = append(errs, field.Duplicate(path.Child("name"), name))
		}
		errs = append(errs, validateProtocol(path.Child("protocol"), ptr.Deref(port.Protocol, corev1.Protocol("")))...)
		if port.Port != nil {
			errs = append(errs, validatePortNumber(path.Child("port"), *port.Port)...)
		}
		if port.AppProtocol != nil {
			errs = append(errs, validateQualifiedName(path.Child("appProtocol"), *port.AppProtocol)...)
		}
	}
	return errs
}

func endpointSliceWarnings(obj, _ Object) []string {
	slice := obj.(*discoveryv1.EndpointSlice)
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		// There is no spec; Kubernetes says so all the same.
		return []string{"spec.addressType: FQDN endpoints are deprecated"}
	}
	var warnings []string
	for i, endpoint := range slice.Endpoints {
		for j, address := range endpoint.Addresses {
			warnings = append(warnings, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), address)...)
		}
	}
	return warnings
}
