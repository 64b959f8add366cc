package registry

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

const (
	maxSliceEndpoints = 1000
	maxSliceAddresses = 100
	maxSlicePorts     = 20000
	maxZoneHints      = 8
	maxNodeHints      = 8
)

// validateEndpointSlice checks a slice. What old (it may be nil) has as endpoints was valid once and stays so.
func validateEndpointSlice(slice, old *discoveryv1.EndpointSlice) field.ErrorList {
	errs := oneOf(field.NewPath("addressType"), slice.AddressType, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	errs = append(errs, validateSlicePorts(field.NewPath("ports"), slice.Ports)...)
	endpoints := field.NewPath("endpoints")
	if len(slice.Endpoints) > maxSliceEndpoints {
		return append(errs, field.TooMany(endpoints, len(slice.Endpoints), maxSliceEndpoints))
	}
	var wrong field.ErrorList
	for i := range slice.Endpoints {
		wrong = append(wrong, validateSliceEndpoint(endpoints.Index(i), &slice.Endpoints[i], slice.AddressType)...)
	}
	if len(wrong) > 0 && old != nil && equality.Semantic.DeepEqual(slice.Endpoints, old.Endpoints) {
		return errs
	}
	return append(errs, wrong...)
}

func validateEndpointSliceUpdate(slice, old *discoveryv1.EndpointSlice) field.ErrorList {
	errs := validateEndpointSlice(slice, old)
	if slice.AddressType != old.AddressType {
		errs = append(errs, field.Invalid(field.NewPath("addressType"), nil, apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}

func validateSliceEndpoint(path *field.Path, endpoint *discoveryv1.Endpoint, kind discoveryv1.AddressType) field.ErrorList {
	var errs field.ErrorList
	addresses := path.Child("addresses")
	if len(endpoint.Addresses) == 0 {
		errs = append(errs, field.Required(addresses, ""))
	} else if len(endpoint.Addresses) > maxSliceAddresses {
		errs = append(errs, field.TooMany(addresses, len(endpoint.Addresses), maxSliceAddresses))
	}
	for i, address := range endpoint.Addresses {
		errs = append(errs, validateSliceAddress(addresses, i, address, kind)...)
	}
	if endpoint.NodeName != nil {
		errs = append(errs, invalidFor(path.Child("nodeName"), *endpoint.NodeName, apivalidation.NameIsDNSSubdomain(*endpoint.NodeName, false))...)
	}
	if endpoint.Hostname != nil {
		errs = append(errs, validateDNSLabel(path.Child("hostname"), *endpoint.Hostname)...)
	}
	if endpoint.Hints != nil {
		errs = append(errs, validateHints(path.Child("hints"), endpoint.Hints)...)
	}
	return errs
}

func validateHints(path *field.Path, hints *discoveryv1.EndpointHints) field.ErrorList {
	zones, nodes := path.Child("forZones"), path.Child("forNodes")
	if len(hints.ForZones) > maxZoneHints {
		return field.ErrorList{field.TooMany(zones, len(hints.ForZones), maxZoneHints)}
	}
	var errs field.ErrorList
	names := seen[string]{}
	for i, zone := range hints.ForZones {
		path := zones.Index(i).Child("name")
		if names.before(zone.Name) {
			errs = append(errs, field.Duplicate(path, zone.Name))
		}
		errs = append(errs, invalidFor(path, zone.Name, validation.IsValidLabelValue(zone.Name))...)
	}
	if len(hints.ForNodes) > maxNodeHints {
		return append(errs, field.TooMany(nodes, len(hints.ForNodes), maxNodeHints))
	}
	names = seen[string]{}
	for i, node := range hints.ForNodes {
		path := nodes.Index(i).Child("name")
		if names.before(node.Name) {
			errs = append(errs, field.Duplicate(path, node.Name))
		}
		errs = append(errs, invalidFor(path, node.Name, apivalidation.NameIsDNSSubdomain(node.Name, false))...)
	}
	return errs
}

// validateSliceAddress names the list where an address is of the other family, and the address for all else.
func validateSliceAddress(list *field.Path, i int, address string, kind discoveryv1.AddressType) field.ErrorList {
	path := list.Index(i)
	switch kind {
	case discoveryv1.AddressTypeFQDN:
		return validation.IsFullyQualifiedDomainName(path, address)
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
	default:
		return nil // the type is wrong
	}
	errs := validation.IsValidIP(path, address)
	if len(errs) > 0 {
		return errs
	}
	if parsed, err := netip.ParseAddr(address); err == nil && string(familyOf(parsed)) != string(kind) {
		errs = append(errs, field.Invalid(list, address, fmt.Sprintf("must be an %s address", kind)))
	}
	return append(errs, validateOrdinaryIP(path, address)...)
}

// validateSlicePorts checks no port numbers, as Kubernetes does not.
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
		if port.AppProtocol != nil {
			errs = append(errs, validateQualifiedName(path.Child("appProtocol"), *port.AppProtocol)...)
		}
	}
	return errs
}

func endpointSliceWarnings(obj, old Object) []string {
	slice := obj.(*discoveryv1.EndpointSlice)
	var warnings []string
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		if old != nil {
			return nil
		}
		// There is no spec; Kubernetes says so all the same.
		return []string{"spec.addressType: FQDN endpoints are deprecated"}
	}
	switch slice.Labels[discoveryv1.LabelManagedBy] {
	case "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io":
		return warnings // they write what is right
	}
	for i, endpoint := range slice.Endpoints {
		for j, address := range endpoint.Addresses {
			warnings = append(warnings, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), address)...)
		}
	}
	return warnings
}
