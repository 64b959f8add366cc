package registry

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func validatePodSecurityContext(path *field.Path, spec *corev1.PodSpec) field.ErrorList {
	context := spec.SecurityContext
	if context == nil {
		return nil
	}
	var errs field.ErrorList
	if context.FSGroup != nil {
		errs = append(errs, invalidFor(path.Child("fsGroup"), *context.FSGroup, validation.IsValidGroupID(*context.FSGroup))...)
	}
	errs = append(errs, validateRunAs(path, context.RunAsUser, context.RunAsGroup)...)
	for i, group := range context.SupplementalGroups {
		errs = append(errs, invalidFor(path.Child("supplementalGroups").Index(i), group, validation.IsValidGroupID(group))...)
	}
	if spec.HostPID && ptr.Deref(spec.ShareProcessNamespace, false) {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	names := seen[string]{}
	for i, sysctl := range context.Sysctls {
		path := path.Child("sysctls").Index(i).Child("name")
		switch {
		case sysctl.Name == "":
			errs = append(errs, field.Required(path, ""))
		case names.before(sysctl.Name):
			errs = append(errs, field.Duplicate(path, sysctl.Name))
		}
	}
	errs = append(errs, optionallyOneOf(path.Child("fsGroupChangePolicy"), context.FSGroupChangePolicy,
		corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	errs = append(errs, optionallyOneOf(path.Child("supplementalGroupsPolicy"), context.SupplementalGroupsPolicy,
		corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	return append(errs, validateSeccompProfile(path.Child("seccompProfile"), context.SeccompProfile)...)
}

// validateSecurityContext checks a container's; hostUsers is the Pod's.
func validateSecurityContext(path *field.Path, context *corev1.SecurityContext, hostUsers *bool) field.ErrorList {
	if context == nil {
		return nil
	}
	errs := validateRunAs(path, context.RunAsUser, context.RunAsGroup)
	errs = append(errs, optionallyOneOf(path.Child("procMount"), context.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
	if ptr.Deref(context.ProcMount, "") == corev1.UnmaskedProcMount && ptr.Deref(hostUsers, true) {
		errs = append(errs, field.Invalid(path.Child("procMount"), context.ProcMount, "`hostUsers` must be false to use `Unmasked`"))
	}
	errs = append(errs, validateSeccompProfile(path.Child("seccompProfile"), context.SeccompProfile)...)
	if ptr.Deref(context.AllowPrivilegeEscalation, true) {
		return errs
	}
	if ptr.Deref(context.Privileged, false) {
		errs = append(errs, field.Invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
	}
	if context.Capabilities != nil && slices.Contains(context.Capabilities.Add, "CAP_SYS_ADMIN") {
		errs = append(errs, field.Invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
	}
	return errs
}

func validateRunAs(path *field.Path, user, group *int64) field.ErrorList {
	var errs field.ErrorList
	if user != nil {
		errs = append(errs, invalidFor(path.Child("runAsUser"), *user, validation.IsValidUserID(*user))...)
	}
	if group != nil {
		errs = append(errs, invalidFor(path.Child("runAsGroup"), *group, validation.IsValidGroupID(*group))...)
	}
	return errs
}

func validateSeccompProfile(path *field.Path, profile *corev1.SeccompProfile) field.ErrorList {
	if profile == nil {
		return nil
	}
	errs := oneOf(path.Child("type"), profile.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault,
		corev1.SeccompProfileTypeUnconfined)
	local := profile.Type == corev1.SeccompProfileTypeLocalhost
	path = path.Child("localhostProfile")
	switch {
	case local && profile.LocalhostProfile == nil:
		errs = append(errs, field.Required(path, fmt.Sprintf("must be set when seccomp type is %s", profile.Type)))
	case local:
		errs = append(errs, validateDescendingPath(path, *profile.LocalhostProfile)...)
	case profile.LocalhostProfile != nil:
		errs = append(errs, field.Invalid(path, profile, "can only be set when seccomp type is Localhost"))
	}
	return errs
}
