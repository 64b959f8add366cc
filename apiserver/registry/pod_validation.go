package registry

import (
	"math"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatePod(pod *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateAnyPod(pod)
	if len(pod.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if pod.Spec.NodeName != "" && len(pod.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return errs
}

// validateAnyPod checks a new or a changed Pod.
func validateAnyPod(pod *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validatePodAnnotations(field.NewPath("metadata", "annotations"), pod.Annotations, &pod.Spec)
	errs = append(errs, validatePodSpec(spec, &pod.Spec, inPod)...)
	errs = append(errs, validateImageSpaces(spec.Child("containers"), pod.Spec.Containers)...)
	return append(errs, validateImageSpaces(spec.Child("initContainers"), pod.Spec.InitContainers)...)
}

func validatePodAnnotations(path *field.Path, annotations map[string]string, spec *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	if mirror, found := annotations[corev1.MirrorPodAnnotationKey]; found && spec.NodeName == "" {
		errs = append(errs, field.Invalid(path.Key(corev1.MirrorPodAnnotationKey), mirror, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if cost, found := annotations[corev1.PodDeletionCost]; found {
		if number, err := strconv.ParseInt(cost, 10, 32); err != nil || strconv.FormatInt(number, 10) != cost {
			errs = append(errs, field.Invalid(path.Key(corev1.PodDeletionCost), cost, "must be a 32bit integer"))
		}
	}
	return errs
}

func validateImageSpaces(path *field.Path, containers []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for i, container := range containers {
		if strings.TrimSpace(container.Image) != container.Image {
			errs = append(errs, field.Invalid(path.Index(i).Child("image"), container.Image, "must not have leading or trailing whitespace"))
		}
	}
	return errs
}

// podSpecOwner is what a Pod spec stands in: templates are checked less strictly.
type podSpecOwner int

const (
	inPod podSpecOwner = iota
	inTemplate
)

func validatePodSpec(path *field.Path, spec *corev1.PodSpec, owner podSpecOwner) field.ErrorList {
	var errs field.ErrorList
	if spec.TerminationGracePeriodSeconds == nil {
		errs = append(errs, field.Required(path.Child("terminationGracePeriodSeconds"), ""))
	}
	volumes, volumeErrs := validateVolumes(path.Child("volumes"), spec.Volumes)
	errs = append(errs, volumeErrs...)
	check := containerCheck{spec: spec, volumes: volumes}
	errs = append(errs, check.containers(path.Child("containers"))...)
	errs = append(errs, check.initContainers(path.Child("initContainers"))...)
	errs = append(errs, check.ephemeralContainers(path.Child("ephemeralContainers"))...)
	errs = append(errs, validateHostNetworkPorts(path.Child("containers"), spec, owner)...)
	errs = append(errs, oneOf(path.Child("restartPolicy"), spec.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, oneOf(path.Child("dnsPolicy"), spec.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	errs = append(errs, metavalidation.ValidateLabels(spec.NodeSelector, path.Child("nodeSelector"))...)
	errs = append(errs, validatePodSecurityContext(path.Child("securityContext"), spec)...)
	errs = append(errs, validateDNSConfig(path.Child("dnsConfig"), spec)...)
	errs = append(errs, validateScheduling(path, spec)...)
	errs = append(errs, validatePodNames(path, spec)...)
	if seconds := spec.ActiveDeadlineSeconds; seconds != nil && (*seconds < 1 || *seconds > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *seconds, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	for i, alias := range spec.HostAliases {
		aliasPath := path.Child("hostAliases").Index(i)
		errs = append(errs, validation.IsValidIP(aliasPath.Child("ip"), alias.IP)...)
		for j, hostname := range alias.Hostnames {
			errs = append(errs, validateDNSSubdomain(aliasPath.Child("hostnames").Index(j), hostname)...)
		}
	}
	if spec.OS != nil {
		errs = append(errs, validateOS(path.Child("os"), spec.OS.Name)...)
	}
	if spec.Overhead != nil {
		errs = append(errs, validateResources(path.Child("overhead"), &corev1.ResourceRequirements{Limits: spec.Overhead})...)
	}
	return errs
}

func validateOS(path *field.Path, name corev1.OSName) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "cannot be empty")}
	}
	return oneOf(path, name, corev1.Linux, corev1.Windows)
}

func validateHostnameOverride(path *field.Path, override string, spec *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	if spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN {
		errs = append(errs, field.Forbidden(path, "may not be specified when setHostnameAsFQDN is true"))
	}
	if spec.HostNetwork {
		errs = append(errs, field.Forbidden(path, "may not be specified when hostNetwork is true"))
	}
	const longest = 64 // bytes, which Linux keeps
	if len(override) > longest {
		errs = append(errs, field.TooLong(path, override, longest))
	}
	return append(errs, validateDNSSubdomain(path, override)...)
}

// validatePodNames checks the fields that name other objects, and the Pod in DNS.
func validatePodNames(path *field.Path, spec *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	check := func(name, value string, messages func(string, bool) []string) {
		if value != "" {
			errs = append(errs, invalidFor(path.Child(name), value, messages(value, false))...)
		}
	}
	check("serviceAccountName", spec.ServiceAccountName, apivalidation.ValidateServiceAccountName)
	check("nodeName", spec.NodeName, apivalidation.NameIsDNSSubdomain)
	check("hostname", spec.Hostname, apivalidation.NameIsDNSLabel)
	check("subdomain", spec.Subdomain, apivalidation.NameIsDNSLabel)
	if override := spec.HostnameOverride; override != nil {
		errs = append(errs, validateHostnameOverride(path.Child("hostnameOverride"), *override, spec)...)
	}
	check("priorityClassName", spec.PriorityClassName, apivalidation.NameIsDNSSubdomain)
	if spec.RuntimeClassName != nil {
		errs = append(errs, invalidFor(path.Child("runtimeClassName"), *spec.RuntimeClassName,
			apivalidation.NameIsDNSSubdomain(*spec.RuntimeClassName, false))...)
	}
	return errs
}

func validateHostNetworkPorts(path *field.Path, spec *corev1.PodSpec, owner podSpecOwner) field.ErrorList {
	var errs field.ErrorList
	if !spec.HostNetwork {
		return nil
	}
	for i, container := range spec.Containers {
		for j, port := range container.Ports {
			// A template's host ports are filled in when the Pod is made.
			if port.HostPort != port.ContainerPort && (owner == inPod || port.HostPort != 0) {
				errs = append(errs, field.Invalid(path.Index(i).Child("ports").Index(j).Child("hostPort"), port.HostPort,
					"must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}

func validateDNSConfig(path *field.Path, spec *corev1.PodSpec) field.ErrorList {
	const maxNameservers, maxSearches, maxSearchCharacters = 3, 32, 2048
	config := spec.DNSConfig
	if spec.DNSPolicy == corev1.DNSNone {
		if config == nil {
			return field.ErrorList{field.Required(path, "must provide `dnsConfig` when `dnsPolicy` is None")}
		}
		if len(config.Nameservers) == 0 {
			return field.ErrorList{field.Required(path.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")}
		}
	}
	if config == nil {
		return nil
	}
	var errs field.ErrorList
	if len(config.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(path.Child("nameservers"), config.Nameservers, "must not have more than 3 nameservers"))
	}
	for i, server := range config.Nameservers {
		errs = append(errs, validation.IsValidIP(path.Child("nameservers").Index(i), server)...)
	}
	if len(config.Searches) > maxSearches {
		errs = append(errs, field.Invalid(path.Child("searches"), config.Searches, "must not have more than 32 search paths"))
	}
	if len(strings.Join(config.Searches, " ")) > maxSearchCharacters {
		errs = append(errs, field.Invalid(path.Child("searches"), config.Searches, "must not have more than 2048 characters (including spaces) in the search list"))
	}
	for i, search := range config.Searches {
		if search != "." {
			search = strings.TrimSuffix(search, ".")
			errs = append(errs, invalidFor(path.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search))...)
		}
	}
	for i, option := range config.Options {
		if option.Name == "" {
			errs = append(errs, field.Required(path.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}
