package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// mounts checks the volume mounts of one container.
func (c containerCheck) mounts(path *field.Path, container *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	places := seen[string]{}
	for i := range container.VolumeMounts {
		mount, indexed := &container.VolumeMounts[i], path.Index(i)
		if mount.Name == "" {
			errs = append(errs, field.Required(indexed.Child("name"), ""))
		}
		if _, found := c.volumes[mount.Name]; !found {
			errs = append(errs, field.NotFound(indexed.Child("name"), mount.Name))
		}
		if mount.MountPath == "" {
			errs = append(errs, field.Required(indexed.Child("mountPath"), ""))
		}
		if places.before(mount.MountPath) {
			errs = append(errs, field.Invalid(indexed.Child("mountPath"), mount.MountPath, "must be unique"))
		}
		if mount.SubPath != "" {
			errs = append(errs, validateDescendingPath(path.Child("subPath"), mount.SubPath)...)
		}
		if mount.SubPathExpr != "" {
			if mount.SubPath != "" {
				errs = append(errs, field.Invalid(indexed.Child("subPathExpr"), mount.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
			}
			errs = append(errs, validateDescendingPath(path.Child("subPathExpr"), mount.SubPathExpr)...)
		}
		errs = append(errs, validateMountModes(path, mount, container)...)
	}
	return errs
}

func validateMountModes(path *field.Path, mount *corev1.VolumeMount, container *corev1.Container) field.ErrorList {
	errs := optionallyOneOf(path.Child("mountPropagation"), mount.MountPropagation, corev1.MountPropagationBidirectional,
		corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := container.SecurityContext != nil && ptr.Deref(container.SecurityContext.Privileged, false)
	if ptr.Deref(mount.MountPropagation, "") == corev1.MountPropagationBidirectional && !privileged {
		errs = append(errs, field.Forbidden(path.Child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers"))
	}
	errs = append(errs, optionallyOneOf(path.Child("recursiveReadOnly"), mount.RecursiveReadOnly, corev1.RecursiveReadOnlyDisabled,
		corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)...)
	mode := ptr.Deref(mount.RecursiveReadOnly, corev1.RecursiveReadOnlyDisabled)
	if (mode == corev1.RecursiveReadOnlyEnabled || mode == corev1.RecursiveReadOnlyIfPossible) && !mount.ReadOnly {
		errs = append(errs, field.Forbidden(path.Child("recursiveReadOnly"), "may only be specified when readOnly is true"))
	}
	return errs
}
