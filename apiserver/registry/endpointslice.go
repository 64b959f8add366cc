package registry

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func endpointSliceKind() *Kind {
	doc := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return &Kind{
		GroupVersionKind: discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		Resource:         "endpointslices",
		Singular:         "endpointslice",
		Namespaced:       true,
		New:              func() Object { return &discoveryv1.EndpointSlice{} },
		NewList:          func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Default:          func(obj Object) { defaultEndpointSlice(obj.(*discoveryv1.EndpointSlice)) },
		PrepareForCreate: func(obj Object) {
			obj.SetGeneration(1)
			dropTopology(obj.(*discoveryv1.EndpointSlice))
		},
		PrepareForUpdate: func(obj, old Object) {
			prepareEndpointSliceUpdate(obj.(*discoveryv1.EndpointSlice), old.(*discoveryv1.EndpointSlice))
		},
		Validate: func(obj Object) field.ErrorList { return validateEndpointSlice(obj.(*discoveryv1.EndpointSlice), nil) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateEndpointSliceUpdate(obj.(*discoveryv1.EndpointSlice), old.(*discoveryv1.EndpointSlice))
		},
		ValidateName: validation.NameIsDNSSubdomain,
		Warnings:     endpointSliceWarnings,
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("AddressType", "string", doc["addressType"]),
			column("Ports", "string", doc["ports"]),
			column("Endpoints", "string", doc["endpoints"]),
			ageColumn(),
		},
		Cells: endpointSliceCells,
	}
}

func defaultEndpointSlice(slice *discoveryv1.EndpointSlice) {
	for i := range slice.Ports {
		port := &slice.Ports[i]
		if port.Name == nil {
			port.Name = ptr.To("")
		}
		if port.Protocol == nil {
			port.Protocol = ptr.To(corev1.ProtocolTCP)
		}
	}
}

// prepareEndpointSliceUpdate raises the generation when what a proxy reads has changed, labels among it.
func prepareEndpointSliceUpdate(slice, old *discoveryv1.EndpointSlice) {
	slice.Generation = old.Generation
	if !equality.Semantic.DeepEqual(slice.Endpoints, old.Endpoints) || !equality.Semantic.DeepEqual(slice.Ports, old.Ports) ||
		slice.AddressType != old.AddressType || !equality.Semantic.DeepEqual(slice.Labels, old.Labels) {
		slice.Generation++
	}
	dropTopology(slice)
}

// dropTopology drops the field that v1beta1 had in place of zone and nodeName.
func dropTopology(slice *discoveryv1.EndpointSlice) {
	for i := range slice.Endpoints {
		slice.Endpoints[i].DeprecatedTopology = nil
	}
}

func endpointSliceCells(obj Object) []any {
	slice := obj.(*discoveryv1.EndpointSlice)
	var ports, addresses []string
	for _, port := range slice.Ports {
		switch {
		case port.Port != nil:
			ports = append(ports, strconv.Itoa(int(*port.Port)))
		case port.Name != nil:
			ports = append(ports, *port.Name)
		default:
			ports = append(ports, "*")
		}
	}
	for _, endpoint := range slice.Endpoints {
		addresses = append(addresses, endpoint.Addresses...)
	}
	return []any{slice.Name, string(slice.AddressType), orUnset(withMore(ports)), orUnset(withMore(addresses)), age(slice)}
}

func orUnset(text string) string {
	if text == "" {
		return "<unset>"
	}
	return text
}
