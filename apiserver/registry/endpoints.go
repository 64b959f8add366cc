//lint:file-ignore SA1019 Kubernetes deprecates v1 Endpoints, and serves them.

package registry

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func endpointsKind() *Kind {
	return &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Endpoints"),
		Resource:         "endpoints",
		Singular:         "endpoints",
		ShortNames:       []string{"ep"},
		Namespaced:       true,
		CreateOnUpdate:   true,
		New:              func() Object { return &corev1.Endpoints{} },
		NewList:          func() runtime.Object { return &corev1.EndpointsList{} },
		Default:          func(obj Object) { defaultEndpoints(obj.(*corev1.Endpoints)) },
		Validate:         func(obj Object) field.ErrorList { return validateEndpoints(obj.(*corev1.Endpoints)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateEndpointsUpdate(obj.(*corev1.Endpoints), old.(*corev1.Endpoints))
		},
		ValidateName: validation.NameIsDNSSubdomain,
		Deprecated:   "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
		Warnings:     endpointsWarnings,
		Columns: []metav1.TableColumnDefinition{
			nameColumn(), column("Endpoints", "string", corev1.Endpoints{}.SwaggerDoc()["subsets"]), ageColumn(),
		},
		Cells: func(obj Object) []any {
			endpoints := obj.(*corev1.Endpoints)
			return []any{endpoints.Name, endpointsText(endpoints), age(endpoints)}
		},
	}
}

func defaultEndpoints(endpoints *corev1.Endpoints) {
	for i := range endpoints.Subsets {
		for j := range endpoints.Subsets[i].Ports {
			if port := &endpoints.Subsets[i].Ports[j]; port.Protocol == "" {
				port.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

// endpointsText is "10.244.0.5:80,10.244.0.6:80", "<none>" without subsets, and empty while no address is ready.
func endpointsText(endpoints *corev1.Endpoints) string {
	if len(endpoints.Subsets) == 0 {
		return "<none>"
	}
	var all []string
	for _, subset := range endpoints.Subsets {
		if len(subset.Ports) == 0 {
			for _, address := range subset.Addresses {
				all = append(all, address.IP)
			}
		}
		for _, port := range subset.Ports {
			for _, address := range subset.Addresses {
				all = append(all, net.JoinHostPort(address.IP, strconv.Itoa(int(port.Port))))
			}
		}
	}
	return withMore(all)
}
