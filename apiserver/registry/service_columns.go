package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func serviceColumns() []metav1.TableColumnDefinition {
	spec := corev1.ServiceSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("Type", "string", spec["type"]),
		column("Cluster-IP", "string", spec["clusterIP"]),
		column("External-IP", "string", spec["externalIPs"]),
		column("Port(s)", "string", spec["ports"]),
		ageColumn(),
		wideColumn("Selector", "string", spec["selector"]),
	}
}

func serviceCells(obj Object) []any {
	service := obj.(*corev1.Service)
	clusterIP := ""
	if len(service.Spec.ClusterIPs) > 0 {
		clusterIP = service.Spec.ClusterIPs[0]
	}
	return []any{
		service.Name,
		string(service.Spec.Type),
		orNone(clusterIP),
		serviceExternalIP(service),
		orNone(servicePorts(service.Spec.Ports)),
		age(service),
		labels.FormatLabels(service.Spec.Selector),
	}
}

func serviceExternalIP(service *corev1.Service) string {
	external := strings.Join(service.Spec.ExternalIPs, ",")
	switch service.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return service.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		var all []string
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if address := cmp.Or(ingress.IP, ingress.Hostname); address != "" {
				all = append(all, address)
			}
		}
		slices.Sort(all)
		all = append(slices.Compact(all), service.Spec.ExternalIPs...)
		if len(all) == 0 {
			return "<pending>"
		}
		return strings.Join(all, ",")
	}
	return orNone(external)
}

// servicePorts is "80/TCP,443:30443/TCP".
func servicePorts(ports []corev1.ServicePort) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		if port.NodePort > 0 {
			texts[i] = fmt.Sprintf("%d:%d/%s", port.Port, port.NodePort, port.Protocol)
		} else {
			texts[i] = fmt.Sprintf("%d/%s", port.Port, port.Protocol)
		}
	}
	return strings.Join(texts, ",")
}
