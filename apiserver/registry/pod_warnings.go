package registry

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func podWarnings(pod *corev1.Pod) []string {
	var warnings []string
	if messages := validation.IsDNS1123Label(pod.Name); len(messages) > 0 {
		warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", messages))
	}
	return append(warnings, podSpecWarnings(nil, &pod.ObjectMeta, &pod.Spec)...)
}

// workloadWarnings are those of a Deployment or ReplicaSet; oldTemplate is nil on create.
func workloadWarnings(obj Object, template, oldTemplate *corev1.PodTemplateSpec) []string {
	var warnings []string
	if oldTemplate == nil {
		if messages := validation.IsDNS1123Label(obj.GetName()); len(messages) > 0 {
			warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", messages))
		}
	} else if equality.Semantic.DeepEqual(template, oldTemplate) {
		return nil
	}
	return append(warnings, podSpecWarnings(field.NewPath("spec", "template"), &template.ObjectMeta, &template.Spec)...)
}

// podSpecWarnings warns of what is valid but hardly meant; path is nil for a Pod.
func podSpecWarnings(path *field.Path, meta *metav1.ObjectMeta, spec *corev1.PodSpec) []string {
	at := path.Child("spec")
	warnings := selectorWarnings(at.Child("nodeSelector"), spec.NodeSelector)
	warnings = append(warnings, spreadWarnings(at.Child("topologySpreadConstraints"), spec.TopologySpreadConstraints)...)
	warnings = append(warnings, annotationWarnings(path.Child("metadata", "annotations"), meta.Annotations, spec)...)
	for i, volume := range spec.Volumes {
		if volume.GitRepo != nil {
			warnings = append(warnings, fmt.Sprintf("%s: deprecated in v1.11, and disabled by default in v1.33+", at.Child("volumes").Index(i).Child("gitRepo")))
		}
	}
	ips, secrets := seen[string]{}, seen[string]{}
	for i, alias := range spec.HostAliases {
		if ips.before(alias.IP) {
			warnings = append(warnings, fmt.Sprintf("%s: duplicate ip %q", at.Child("hostAliases").Index(i).Child("ip"), alias.IP))
		}
	}
	for i, secret := range spec.ImagePullSecrets {
		name := at.Child("imagePullSecrets").Index(i).Child("name")
		if secrets.before(secret.Name) {
			warnings = append(warnings, fmt.Sprintf("%s: duplicate name %q", name, secret.Name))
		}
		if secret.Name == "" {
			warnings = append(warnings, fmt.Sprintf("%s: invalid empty name %q", name, secret.Name))
		}
	}
	warnings = append(warnings, containerWarnings(at, spec)...)
	warnings = append(warnings, portWarnings(at, spec)...)
	if ptr.Deref(spec.TerminationGracePeriodSeconds, 0) < 0 {
		warnings = append(warnings, fmt.Sprintf("%s: must be >= 0; negative values are invalid and will be treated as 1", at.Child("terminationGracePeriodSeconds")))
	}
	return warnings
}

func spreadWarnings(path *field.Path, constraints []corev1.TopologySpreadConstraint) []string {
	var warnings []string
	for i, constraint := range constraints {
		if message, found := replacedNodeLabels[constraint.TopologyKey]; found {
			warnings = append(warnings, fmt.Sprintf("%s: %s is %s", path.Index(i).Child("topologyKey"), constraint.TopologyKey, message))
		}
		if constraint.LabelSelector == nil {
			warnings = append(warnings, fmt.Sprintf("%s: a null labelSelector results in matching no pod", path.Index(i).Child("labelSelector")))
		}
	}
	return warnings
}

func annotationWarnings(path *field.Path, annotations map[string]string, spec *corev1.PodSpec) []string {
	var warnings []string
	for _, deprecated := range []struct{ key, message string }{
		{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
		{"security.alpha.kubernetes.io/sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
		{"security.alpha.kubernetes.io/unsafe-sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
	} {
		if _, found := annotations[deprecated.key]; found {
			warnings = append(warnings, fmt.Sprintf("%s: %s", path.Key(deprecated.key), deprecated.message))
		}
	}
	_, seccomp := annotations[corev1.SeccompPodAnnotationKey]
	if seccomp && (spec.SecurityContext == nil || spec.SecurityContext.SeccompProfile == nil) {
		warnings = append(warnings, fmt.Sprintf(`%s: non-functional in v1.27+; use the "seccompProfile" field instead`, path.Key(corev1.SeccompPodAnnotationKey)))
	}
	return warnings
}

// eachContainer visits init containers, then the others, as Kubernetes orders its warnings.
func eachContainer(path *field.Path, spec *corev1.PodSpec, visit func(path *field.Path, container *corev1.Container)) {
	for i := range spec.InitContainers {
		visit(path.Child("initContainers").Index(i), &spec.InitContainers[i])
	}
	for i := range spec.Containers {
		visit(path.Child("containers").Index(i), &spec.Containers[i])
	}
}

func containerWarnings(path *field.Path, spec *corev1.PodSpec) []string {
	var warnings []string
	eachContainer(path, spec, func(path *field.Path, container *corev1.Container) {
		for _, list := range []struct {
			name      string
			resources corev1.ResourceList
		}{{"limits", container.Resources.Limits}, {"requests", container.Resources.Requests}} {
			for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
				if quantity, found := list.resources[name]; found && quantity.MilliValue()%1000 != 0 {
					warnings = append(warnings, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer",
						path.Child("resources", list.name).Key(string(name)), quantity.String()))
				}
			}
		}
		names := seen[string]{}
		for i, variable := range container.Env {
			// X="$(X):more" extends X and is meant; anything else hides the first one.
			reference := "$(" + variable.Name + ")"
			extends := variable.ValueFrom == nil && variable.Value != reference && strings.Contains(variable.Value, reference)
			if names.before(variable.Name) && !extends {
				warnings = append(warnings, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply",
					path.Child("env").Index(i), variable.Name))
			}
		}
	})
	return warnings
}

func portWarnings(path *field.Path, spec *corev1.PodSpec) []string {
	type known struct {
		path *field.Path
		port corev1.ContainerPort
	}
	var warnings []string
	byNumber, byName := map[string][]known{}, map[string]known{}
	eachContainer(path, spec, func(path *field.Path, container *corev1.Container) {
		for i, port := range container.Ports {
			path := path.Child("ports").Index(i)
			number := fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol)
			for _, other := range byNumber[number] {
				switch {
				case port.HostIP == other.port.HostIP && port.HostPort == other.port.HostPort:
					warnings = append(warnings, fmt.Sprintf("%s: duplicate port definition with %s", path, other.path))
				case port.HostPort == 0 || other.port.HostPort == 0:
					warnings = append(warnings, fmt.Sprintf("%s: overlapping port definition with %s", path, other.path))
				case slices.Contains([]string{port.HostIP, other.port.HostIP}, "") && port.HostPort == other.port.HostPort:
					warnings = append(warnings, fmt.Sprintf("%s: dangerously ambiguous port definition with %s", path, other.path))
				}
			}
			byNumber[number] = append(byNumber[number], known{path, port})
			if other, found := byName[port.Name]; found && port.Name != "" {
				warnings = append(warnings, fmt.Sprintf("%s: duplicate port name %q with %s, services and probes that select ports by name will use %s",
					path, port.Name, other.path, other.path))
				continue
			}
			byName[port.Name] = known{path, port}
		}
	})
	return warnings
}
