package environment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Facts are what fieldRef and resourceFieldRef may ask that is not in the Pod's own metadata and spec.
type Facts struct {
	PodIPs, HostIPs []string
	NodeName        string
	Allocatable     v1.ResourceList // of the node: stands for a limit that is not set
}

// Field is the value of a Pod's field by its downward API path. metadata.labels and metadata.annotations (whole) have a line a
// key, sorted, with the value quoted, as files have them.
func Field(pod *v1.Pod, path string, facts Facts) (string, error) {
	if base, key, subscript := cutSubscript(path); subscript {
		switch base {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
		return "", fmt.Errorf("invalid fieldPath %q: unsupported subscript", path)
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName":
		return facts.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(facts.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(facts.HostIPs, ","), nil
	case "status.podIP":
		return first(facts.PodIPs), nil
	case "status.podIPs":
		return strings.Join(facts.PodIPs, ","), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", path)
}

// Resource is the value of a container's resource field, rounded up to whole divisors.
func Resource(pod *v1.Pod, container *v1.Container, selector *v1.ResourceFieldSelector, facts Facts) (string, error) {
	if selector.ContainerName != "" {
		found := findContainer(pod, selector.ContainerName)
		if found == nil {
			return "", fmt.Errorf("container %s not found", selector.ContainerName)
		}
		container = found
	}
	if container == nil {
		return "", fmt.Errorf("containerName is required for resource %s in a volume", selector.Resource)
	}
	kind, name, _ := strings.Cut(selector.Resource, ".")
	var quantity resource.Quantity
	switch kind {
	case "limits":
		limit, set := container.Resources.Limits[v1.ResourceName(name)]
		if !set && (name == "cpu" || name == "memory" || name == "ephemeral-storage") {
			limit = facts.Allocatable[v1.ResourceName(name)]
		}
		quantity = limit
	case "requests":
		quantity = container.Resources.Requests[v1.ResourceName(name)]
	default:
		return "", fmt.Errorf("unsupported container resource : %v", selector.Resource)
	}
	divisor := selector.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == "cpu" {
		return strconv.FormatInt(divideUp(quantity.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(divideUp(quantity.Value(), divisor.Value()), 10), nil
}

func divideUp(value, divisor int64) int64 {
	if divisor <= 0 {
		return value
	}
	return (value + divisor - 1) / divisor
}

func findContainer(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func cutSubscript(path string) (base, key string, ok bool) {
	if !strings.HasSuffix(path, "']") {
		return "", "", false
	}
	return strings.Cut(strings.TrimSuffix(path, "']"), "['")
}

func formatMap(values map[string]string) string {
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&out, "%s=%q\n", key, values[key])
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
