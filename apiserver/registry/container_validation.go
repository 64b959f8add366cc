package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// containerCheck checks the containers of a Pod spec, whose volumes are known by name.
type containerCheck struct {
	spec    *corev1.PodSpec
	volumes map[string]corev1.VolumeSource
}

func (c containerCheck) containers(path *field.Path) field.ErrorList {
	if len(c.spec.Containers) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	names, hostPorts := seen[string]{}, seen[string]{}
	for i := range c.spec.Containers {
		container, path := &c.spec.Containers[i], path.Index(i)
		errs = append(errs, c.common(path, container)...)
		if names.before(container.Name) {
			errs = append(errs, field.Duplicate(path.Child("name"), container.Name))
		}
		errs = append(errs, c.lifecycleAndProbes(path, container)...)
		if container.RestartPolicy != nil {
			errs = append(errs, field.Forbidden(path.Child("restartPolicy"), "may not be set for non-init containers"))
		}
		errs = append(errs, validateHostPorts(path, container, hostPorts)...)
	}
	return errs
}

func (c containerCheck) initContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := c.names(c.spec.Containers)
	for i := range c.spec.InitContainers {
		container, path := &c.spec.InitContainers[i], path.Index(i)
		errs = append(errs, c.common(path, container)...)
		errs = append(errs, optionallyOneOf(path.Child("restartPolicy"), container.RestartPolicy, corev1.ContainerRestartPolicyAlways)...)
		if names.before(container.Name) {
			errs = append(errs, field.Duplicate(path.Child("name"), container.Name))
		}
		errs = append(errs, validateHostPorts(path, container, seen[string]{})...)
		if isSidecar(container) {
			errs = append(errs, c.lifecycleAndProbes(path, container)...)
		} else {
			errs = append(errs, forbidLifecycleAndProbes(path, container)...)
		}
	}
	return errs
}

func (c containerCheck) ephemeralContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := c.names(c.spec.Containers)
	for name := range c.names(c.spec.InitContainers) {
		names[name] = true
	}
	for i := range c.spec.EphemeralContainers {
		path := path.Index(i)
		container := corev1.Container(c.spec.EphemeralContainers[i].EphemeralContainerCommon)
		errs = append(errs, c.common(path, &container)...)
		if names.before(container.Name) {
			errs = append(errs, field.Duplicate(path.Child("name"), container.Name))
		}
	}
	return errs
}

func (c containerCheck) names(containers []corev1.Container) seen[string] {
	names := seen[string]{}
	for _, container := range containers {
		names[container.Name] = true
	}
	return names
}

// common checks what containers of all sorts have.
func (c containerCheck) common(path *field.Path, container *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	if container.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		errs = append(errs, validateDNSLabel(path.Child("name"), container.Name)...)
	}
	if container.Image == "" {
		errs = append(errs, field.Required(path.Child("image"), ""))
	}
	errs = append(errs, oneOf(path.Child("terminationMessagePolicy"), container.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, validateContainerPorts(path.Child("ports"), container.Ports)...)
	errs = append(errs, validateEnv(path.Child("env"), container.Env)...)
	errs = append(errs, validateEnvFrom(path.Child("envFrom"), container.EnvFrom)...)
	errs = append(errs, c.mounts(path.Child("volumeMounts"), container)...)
	errs = append(errs, oneOf(path.Child("imagePullPolicy"), container.ImagePullPolicy,
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, validateResources(path.Child("resources"), &container.Resources)...)
	return append(errs, validateSecurityContext(path.Child("securityContext"), container.SecurityContext, c.spec.HostUsers)...)
}

func (c containerCheck) lifecycleAndProbes(path *field.Path, container *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	if lifecycle := container.Lifecycle; lifecycle != nil {
		path := path.Child("lifecycle")
		errs = append(errs, validateLifecycleHandler(path.Child("postStart"), lifecycle.PostStart, c.spec.TerminationGracePeriodSeconds)...)
		errs = append(errs, validateLifecycleHandler(path.Child("preStop"), lifecycle.PreStop, c.spec.TerminationGracePeriodSeconds)...)
	}
	errs = append(errs, validateLivenessProbe(path.Child("livenessProbe"), container.LivenessProbe)...)
	errs = append(errs, validateReadinessProbe(path.Child("readinessProbe"), container.ReadinessProbe)...)
	return append(errs, validateLivenessProbe(path.Child("startupProbe"), container.StartupProbe)...)
}

func forbidLifecycleAndProbes(path *field.Path, container *corev1.Container) field.ErrorList {
	const reason = "may not be set for init containers without restartPolicy=Always"
	var errs field.ErrorList
	if container.Lifecycle != nil {
		errs = append(errs, field.Forbidden(path.Child("lifecycle"), reason))
	}
	if container.LivenessProbe != nil {
		errs = append(errs, field.Forbidden(path.Child("livenessProbe"), reason))
	}
	if container.ReadinessProbe != nil {
		errs = append(errs, field.Forbidden(path.Child("readinessProbe"), reason))
	}
	if container.StartupProbe != nil {
		errs = append(errs, field.Forbidden(path.Child("startupProbe"), reason))
	}
	return errs
}

func validateContainerPorts(path *field.Path, ports []corev1.ContainerPort) field.ErrorList {
	var errs field.ErrorList
	names := seen[string]{}
	for i, port := range ports {
		path := path.Index(i)
		if port.Name != "" {
			if messages := validation.IsValidPortName(port.Name); len(messages) > 0 {
				errs = append(errs, invalidFor(path.Child("name"), port.Name, messages)...)
			} else if names.before(port.Name) {
				errs = append(errs, field.Duplicate(path.Child("name"), port.Name))
			}
		}
		if port.ContainerPort == 0 {
			errs = append(errs, field.Required(path.Child("containerPort"), ""))
		} else {
			errs = append(errs, validatePortNumber(path.Child("containerPort"), port.ContainerPort)...)
		}
		if port.HostPort != 0 {
			errs = append(errs, validatePortNumber(path.Child("hostPort"), port.HostPort)...)
		}
		errs = append(errs, validateProtocol(path.Child("protocol"), port.Protocol)...)
	}
	return errs
}

// validateHostPorts finds host ports that two containers want.
func validateHostPorts(path *field.Path, container *corev1.Container, known seen[string]) field.ErrorList {
	var errs field.ErrorList
	for i, port := range container.Ports {
		if port.HostPort == 0 {
			continue
		}
		text := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
		if known.before(text) {
			errs = append(errs, field.Duplicate(path.Child("ports").Index(i).Child("hostPort"), text))
		}
	}
	return errs
}
