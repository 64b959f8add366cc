package registry

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func defaultPod(pod *corev1.Pod) {
	defaultPodSpec(&pod.Spec)
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			defaultRequests(&containers[i].Resources)
			if pod.Spec.HostNetwork {
				defaultHostPorts(containers[i].Ports)
			}
		}
	}
	if pod.Spec.EnableServiceLinks == nil {
		pod.Spec.EnableServiceLinks = ptr.To(corev1.DefaultEnableServiceLinks)
	}
}

// defaultPodSpec fills in what a Pod and a Pod template have in common.
func defaultPodSpec(spec *corev1.PodSpec) {
	if spec.DNSPolicy == "" {
		spec.DNSPolicy = corev1.DNSClusterFirst
	}
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = ptr.To(int64(corev1.DefaultTerminationGracePeriodSeconds))
	}
	if spec.SchedulerName == "" {
		spec.SchedulerName = corev1.DefaultSchedulerName
	}
	// serviceAccount is the deprecated name of serviceAccountName; both are always the same.
	if spec.ServiceAccountName == "" {
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
	for i := range spec.InitContainers {
		defaultContainer(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		defaultContainer(&spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		common := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&common)
		spec.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(common)
	}
	if spec.Resources != nil {
		roundResources(spec.Resources)
	}
	roundUp(spec.Overhead)
}

func defaultContainer(container *corev1.Container) {
	if container.ImagePullPolicy == "" {
		container.ImagePullPolicy = pullPolicy(container.Image)
	}
	if container.TerminationMessagePath == "" {
		container.TerminationMessagePath = corev1.TerminationMessagePathDefault
	}
	if container.TerminationMessagePolicy == "" {
		container.TerminationMessagePolicy = corev1.TerminationMessageReadFile
	}
	for i := range container.Ports {
		if container.Ports[i].Protocol == "" {
			container.Ports[i].Protocol = corev1.ProtocolTCP
		}
	}
	for i := range container.Env {
		if from := container.Env[i].ValueFrom; from != nil {
			defaultFieldRef(from.FieldRef)
			if from.FileKeyRef != nil && from.FileKeyRef.Optional == nil {
				from.FileKeyRef.Optional = ptr.To(false)
			}
		}
	}
	roundResources(&container.Resources)
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
		defaultProbe(probe)
	}
	if container.Lifecycle != nil {
		for _, handler := range []*corev1.LifecycleHandler{container.Lifecycle.PostStart, container.Lifecycle.PreStop} {
			if handler != nil {
				defaultHTTPGet(handler.HTTPGet)
			}
		}
	}
}

// pullPolicy is Always for the tag latest, written or implied, and IfNotPresent for other tags and digests.
func pullPolicy(image string) corev1.PullPolicy {
	name := image[strings.LastIndex(image, "/")+1:]
	if strings.Contains(name, "@") {
		return corev1.PullIfNotPresent
	}
	if _, tag, tagged := strings.Cut(name, ":"); tagged && tag != "latest" {
		return corev1.PullIfNotPresent
	}
	return corev1.PullAlways
}

func defaultProbe(probe *corev1.Probe) {
	if probe == nil {
		return
	}
	for _, number := range []struct {
		value     *int32
		otherwise int32
	}{
		{&probe.TimeoutSeconds, 1}, {&probe.PeriodSeconds, 10}, {&probe.SuccessThreshold, 1}, {&probe.FailureThreshold, 3},
	} {
		if *number.value == 0 {
			*number.value = number.otherwise
		}
	}
	defaultHTTPGet(probe.HTTPGet)
	if probe.GRPC != nil && probe.GRPC.Service == nil {
		probe.GRPC.Service = ptr.To("")
	}
}

func defaultHTTPGet(get *corev1.HTTPGetAction) {
	if get == nil {
		return
	}
	if get.Path == "" {
		get.Path = "/"
	}
	if get.Scheme == "" {
		get.Scheme = corev1.URISchemeHTTP
	}
}

func defaultFieldRef(ref *corev1.ObjectFieldSelector) {
	if ref != nil && ref.APIVersion == "" {
		ref.APIVersion = "v1"
	}
}

func defaultVolume(volume *corev1.Volume) {
	if volume.VolumeSource == (corev1.VolumeSource{}) {
		volume.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if volume.HostPath != nil && volume.HostPath.Type == nil {
		volume.HostPath.Type = ptr.To(corev1.HostPathUnset)
	}
	if volume.Secret != nil {
		defaultMode(&volume.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if volume.ConfigMap != nil {
		defaultMode(&volume.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if volume.DownwardAPI != nil {
		defaultMode(&volume.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		for i := range volume.DownwardAPI.Items {
			defaultFieldRef(volume.DownwardAPI.Items[i].FieldRef)
		}
	}
	if volume.Image != nil && volume.Image.PullPolicy == "" {
		volume.Image.PullPolicy = pullPolicy(volume.Image.Reference)
	}
	if volume.Projected != nil {
		defaultMode(&volume.Projected.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
		for i := range volume.Projected.Sources {
			defaultProjection(&volume.Projected.Sources[i])
		}
	}
}

func defaultProjection(source *corev1.VolumeProjection) {
	if source.DownwardAPI != nil {
		for i := range source.DownwardAPI.Items {
			defaultFieldRef(source.DownwardAPI.Items[i].FieldRef)
		}
	}
	if token := source.ServiceAccountToken; token != nil && token.ExpirationSeconds == nil {
		token.ExpirationSeconds = ptr.To(int64(time.Hour / time.Second))
	}
}

func defaultMode(mode **int32, otherwise int32) {
	if *mode == nil {
		*mode = ptr.To(otherwise)
	}
}

// defaultRequests makes each limit without a request a request too.
func defaultRequests(resources *corev1.ResourceRequirements) {
	for name, limit := range resources.Limits {
		if _, asked := resources.Requests[name]; asked {
			continue
		}
		if resources.Requests == nil {
			resources.Requests = corev1.ResourceList{}
		}
		resources.Requests[name] = limit.DeepCopy()
	}
}

func roundResources(resources *corev1.ResourceRequirements) {
	roundUp(resources.Limits)
	roundUp(resources.Requests)
}

// roundUp rounds to thousandths, the finest that Kubernetes keeps.
func roundUp(list corev1.ResourceList) {
	const milli = -3
	for name, quantity := range list {
		quantity.RoundUp(milli)
		list[name] = quantity
	}
}

// defaultHostPorts gives the ports of a Pod in its node's network the numbers they have there anyway.
func defaultHostPorts(ports []corev1.ContainerPort) {
	for i := range ports {
		if ports[i].HostPort == 0 {
			ports[i].HostPort = ports[i].ContainerPort
		}
	}
}
