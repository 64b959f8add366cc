package registry

import (
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const modeRange = "must be a number between 0 and 0777 (octal), both inclusive"

// validateVolumes returns the volumes with valid names, by name, and what is wrong with them.
func validateVolumes(path *field.Path, volumes []corev1.Volume) (map[string]corev1.VolumeSource, field.ErrorList) {
	var errs field.ErrorList
	byName := map[string]corev1.VolumeSource{}
	for i := range volumes {
		volume, path := &volumes[i], path.Index(i)
		sourceErrs := validateVolumeSource(path, &volume.VolumeSource)
		nameErrs := validateDNSLabel(path.Child("name"), volume.Name)
		if volume.Name == "" {
			nameErrs = field.ErrorList{field.Required(path.Child("name"), "")}
		} else if _, found := byName[volume.Name]; found {
			nameErrs = append(nameErrs, field.Duplicate(path.Child("name"), volume.Name))
		}
		if len(sourceErrs)+len(nameErrs) == 0 {
			byName[volume.Name] = volume.VolumeSource
		}
		errs = append(append(errs, sourceErrs...), nameErrs...)
	}
	return byName, errs
}

func validateVolumeSource(path *field.Path, source *corev1.VolumeSource) field.ErrorList {
	set := setFields(*source)
	if len(set) == 0 {
		return field.ErrorList{field.Required(path, "must specify a volume type")}
	}
	// Of two sources the first in Kubernetes' order is the right one: emptyDir, then the others as they are declared.
	if i := slices.Index(set, "emptyDir"); i > 0 {
		set[0], set[i] = set[i], set[0]
	}
	var errs field.ErrorList
	for _, name := range set[1:] {
		errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 volume type"))
	}
	switch path := path.Child(set[0]); {
	case source.EmptyDir != nil:
		if limit := source.EmptyDir.SizeLimit; limit != nil && limit.Sign() < 0 {
			errs = append(errs, field.Forbidden(path.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity"))
		}
	case source.HostPath != nil:
		errs = append(errs, validateHostPath(path, source.HostPath)...)
	case source.Secret != nil:
		if source.Secret.SecretName == "" {
			errs = append(errs, field.Required(path.Child("secretName"), ""))
		}
		errs = append(errs, validateFileMode(path.Child("defaultMode"), source.Secret.DefaultMode)...)
		errs = append(errs, validateItems(path, source.Secret.Items)...)
	case source.ConfigMap != nil:
		if source.ConfigMap.Name == "" {
			errs = append(errs, field.Required(path.Child("name"), ""))
		}
		errs = append(errs, validateFileMode(path.Child("defaultMode"), source.ConfigMap.DefaultMode)...)
		errs = append(errs, validateItems(path, source.ConfigMap.Items)...)
	case source.DownwardAPI != nil:
		errs = append(errs, validateFileMode(path.Child("defaultMode"), source.DownwardAPI.DefaultMode)...)
		for i := range source.DownwardAPI.Items {
			errs = append(errs, validateDownwardFile(path, &source.DownwardAPI.Items[i])...)
		}
	case source.Projected != nil:
		errs = append(errs, validateFileMode(path.Child("defaultMode"), source.Projected.DefaultMode)...)
		errs = append(errs, validateProjections(path, source.Projected.Sources)...)
	case source.PersistentVolumeClaim != nil:
		if source.PersistentVolumeClaim.ClaimName == "" {
			errs = append(errs, field.Required(path.Child("claimName"), ""))
		}
	case source.NFS != nil:
		errs = append(errs, validateNFS(path, source.NFS)...)
	}
	return errs
}

// setFields are the JSON names of the set pointers of a struct, in the struct's order.
func setFields(object any) []string {
	var names []string
	value := reflect.ValueOf(object)
	for i := range value.NumField() {
		if !value.Field(i).IsNil() {
			name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

func validateHostPath(path *field.Path, source *corev1.HostPathVolumeSource) field.ErrorList {
	if source.Path == "" {
		return field.ErrorList{field.Required(path.Child("path"), "")}
	}
	errs := validateNoBacksteps(path.Child("path"), source.Path)
	return append(errs, optionallyOneOf(path.Child("type"), source.Type, corev1.HostPathUnset, corev1.HostPathBlockDev,
		corev1.HostPathCharDev, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile,
		corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
}

func validateNFS(at *field.Path, source *corev1.NFSVolumeSource) field.ErrorList {
	var errs field.ErrorList
	if source.Server == "" {
		errs = append(errs, field.Required(at.Child("server"), ""))
	}
	if source.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	}
	if !path.IsAbs(source.Path) {
		errs = append(errs, field.Invalid(at.Child("path"), source.Path, "must be an absolute path"))
	}
	return errs
}

func validateFileMode(path *field.Path, mode *int32) field.ErrorList {
	if mode != nil && (*mode > 0o777 || *mode < 0) {
		return field.ErrorList{field.Invalid(path, *mode, modeRange)}
	}
	return nil
}

// validateItems checks the items of a source; Kubernetes' field paths do not say which of them.
func validateItems(path *field.Path, items []corev1.KeyToPath) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		path := path.Child("items").Index(i)
		if item.Key == "" {
			errs = append(errs, field.Required(path.Child("key"), ""))
		}
		if item.Path == "" {
			errs = append(errs, field.Required(path.Child("path"), ""))
		}
		errs = append(errs, validateLocalPath(path.Child("path"), item.Path)...)
		errs = append(errs, validateFileMode(path.Child("mode"), item.Mode)...)
	}
	return errs
}

func validateDownwardFile(path *field.Path, file *corev1.DownwardAPIVolumeFile) field.ErrorList {
	var errs field.ErrorList
	if file.Path == "" {
		errs = append(errs, field.Required(path.Child("path"), ""))
	}
	errs = append(errs, validateLocalPath(path.Child("path"), file.Path)...)
	switch {
	case file.FieldRef != nil:
		errs = append(errs, validateFieldRef(path.Child("fieldRef"), file.FieldRef, volumeFields)...)
		if file.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case file.ResourceFieldRef != nil:
		if file.ResourceFieldRef.ContainerName == "" {
			errs = append(errs, field.Required(path.Child("resourceFieldRef", "containerName"), ""))
		}
		errs = append(errs, validateResourceFieldRef(path.Child("resourceFieldRef"), file.ResourceFieldRef)...)
	default:
		errs = append(errs, field.Required(path, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, validateFileMode(path.Child("mode"), file.Mode)...)
}

func validateProjections(path *field.Path, sources []corev1.VolumeProjection) field.ErrorList {
	var errs field.ErrorList
	files := seen[string]{}
	file := func(name string) {
		if name != "" && files.before(name) {
			errs = append(errs, field.Invalid(path, name, "conflicting duplicate paths"))
		}
	}
	for i, source := range sources {
		path := path.Child("sources").Index(i)
		if len(setFields(source)) > 1 {
			errs = append(errs, field.Forbidden(path, "may not specify more than 1 volume type per source"))
		}
		switch {
		case source.Secret != nil:
			if source.Secret.Name == "" {
				errs = append(errs, field.Required(path.Child("secret", "name"), ""))
			}
			errs = append(errs, validateItems(path.Child("secret"), source.Secret.Items)...)
			for _, item := range source.Secret.Items {
				file(item.Path)
			}
		case source.ConfigMap != nil:
			if source.ConfigMap.Name == "" {
				errs = append(errs, field.Required(path.Child("configMap", "name"), ""))
			}
			errs = append(errs, validateItems(path.Child("configMap"), source.ConfigMap.Items)...)
			for _, item := range source.ConfigMap.Items {
				file(item.Path)
			}
		case source.DownwardAPI != nil:
			for j := range source.DownwardAPI.Items {
				errs = append(errs, validateDownwardFile(path.Child("downwardAPI"), &source.DownwardAPI.Items[j])...)
				file(source.DownwardAPI.Items[j].Path)
			}
		case source.ServiceAccountToken != nil:
			errs = append(errs, validateTokenProjection(path.Child("serviceAccountToken"), source.ServiceAccountToken)...)
		}
	}
	return errs
}

func validateTokenProjection(path *field.Path, token *corev1.ServiceAccountTokenProjection) field.ErrorList {
	var errs field.ErrorList
	if seconds := token.ExpirationSeconds; seconds != nil {
		if *seconds < 10*60 {
			errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *seconds, "may not specify a duration less than 10 minutes"))
		}
		if *seconds > 1<<32 {
			errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *seconds, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	if token.Path == "" {
		return append(errs, field.Required(path.Child("path"), ""))
	}
	return append(errs, validateLocalPath(path.Child("path"), token.Path)...)
}

// validateLocalPath refuses paths that lead out of the volume.
func validateLocalPath(at *field.Path, name string) field.ErrorList {
	errs := validateDescendingPath(at, name)
	if strings.HasPrefix(name, "..") && !strings.HasPrefix(name, "../") && name != ".." {
		errs = append(errs, field.Invalid(at, name, "must not start with '..'"))
	}
	return errs
}

func validateDescendingPath(at *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	if path.IsAbs(name) {
		errs = append(errs, field.Invalid(at, name, "must be a relative path"))
	}
	return append(errs, validateNoBacksteps(at, name)...)
}

func validateNoBacksteps(at *field.Path, name string) field.ErrorList {
	if slices.Contains(strings.Split(name, "/"), "..") {
		return field.ErrorList{field.Invalid(at, name, "must not contain '..'")}
	}
	return nil
}
