package environment

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// ServiceVariables are the variables that tell a Pod of a namespace where Services are: for each, oldest first,
// NAME_SERVICE_HOST, NAME_SERVICE_PORT, NAME_SERVICE_PORT_<PORT NAME>, and the older NAME_PORT… set that Docker links had.
// Only the API server's Service (default/kubernetes) is named if links are off (enableServiceLinks: false). Headless ones have none.
func ServiceVariables(services []*v1.Service, namespace string, links bool) []v1.EnvVar {
	const masterNamespace, masterName = "default", "kubernetes"
	chosen := map[string]*v1.Service{}
	for _, service := range services {
		if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == v1.ClusterIPNone || service.Spec.Type == v1.ServiceTypeExternalName {
			continue
		}
		switch {
		case service.Namespace == namespace && (links || service.Name == masterName && namespace == masterNamespace):
			chosen[service.Name] = service // a namespace's own "kubernetes" hides the API server's
		case service.Namespace == masterNamespace && service.Name == masterName && chosen[masterName] == nil:
			chosen[masterName] = service
		}
	}
	sorted := make([]*v1.Service, 0, len(chosen))
	for _, service := range chosen {
		sorted = append(sorted, service)
	}
	slices.SortFunc(sorted, func(a, b *v1.Service) int {
		if order := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
	var variables []v1.EnvVar
	for _, service := range sorted {
		variables = append(variables, variablesOf(service)...)
	}
	return variables
}

func variablesOf(service *v1.Service) []v1.EnvVar {
	if len(service.Spec.Ports) == 0 {
		return nil
	}
	name, host := variableName(service.Name), service.Spec.ClusterIP
	variables := []v1.EnvVar{
		{Name: name + "_SERVICE_HOST", Value: host},
		{Name: name + "_SERVICE_PORT", Value: strconv.Itoa(int(service.Spec.Ports[0].Port))},
	}
	for _, port := range service.Spec.Ports {
		if port.Name != "" {
			variables = append(variables, v1.EnvVar{Name: name + "_SERVICE_PORT_" + variableName(port.Name), Value: strconv.Itoa(int(port.Port))})
		}
	}
	for i, port := range service.Spec.Ports {
		protocol := string(port.Protocol)
		if protocol == "" {
			protocol = string(v1.ProtocolTCP)
		}
		number := strconv.Itoa(int(port.Port))
		url := strings.ToLower(protocol) + "://" + net.JoinHostPort(host, number)
		if i == 0 {
			variables = append(variables, v1.EnvVar{Name: name + "_PORT", Value: url})
		}
		prefix := fmt.Sprintf("%s_PORT_%s_%s", name, number, strings.ToUpper(protocol))
		variables = append(variables,
			v1.EnvVar{Name: prefix, Value: url},
			v1.EnvVar{Name: prefix + "_PROTO", Value: strings.ToLower(protocol)},
			v1.EnvVar{Name: prefix + "_PORT", Value: number},
			v1.EnvVar{Name: prefix + "_ADDR", Value: host})
	}
	return variables
}

func variableName(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
