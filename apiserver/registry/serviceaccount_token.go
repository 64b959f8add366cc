package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

const (
	tokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
	rootCAName     = "kube-root-ca.crt"
	// tokenSeconds is an hour and 7 seconds, by which Kubernetes tells tokens that it mounted itself from asked-for ones.
	tokenSeconds = 3607
)

// mountsToken: the Pod's own word counts more than its service account's.
func mountsToken(account *corev1.ServiceAccount, spec *corev1.PodSpec) bool {
	if spec.AutomountServiceAccountToken != nil {
		return *spec.AutomountServiceAccountToken
	}
	return ptr.Deref(account.AutomountServiceAccountToken, true)
}

// mountToken mounts the projected token volume in every container that has nothing mounted in its place.
func (a podAdmission) mountToken(spec *corev1.PodSpec) {
	name, exists := a.tokenVolumeName(spec)
	mount := corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenMountPath}
	needed := false
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if !mountsAt(&containers[i], tokenMountPath) {
				containers[i].VolumeMounts = append(containers[i].VolumeMounts, mount)
				needed = true
			}
		}
	}
	if needed && !exists {
		spec.Volumes = append(spec.Volumes, corev1.Volume{
			Name:         name,
			VolumeSource: corev1.VolumeSource{Projected: tokenVolume()},
		})
	}
}

func (a podAdmission) tokenVolumeName(spec *corev1.PodSpec) (name string, exists bool) {
	const prefix = "kube-api-access-"
	taken := map[string]bool{}
	for _, volume := range spec.Volumes {
		if len(volume.Name) > len(prefix) && volume.Name[:len(prefix)] == prefix {
			return volume.Name, true
		}
		taken[volume.Name] = true
	}
	for {
		if name = prefix + a.suffix(); !taken[name] {
			return name, false
		}
	}
}

// suffix is five letters and digits that make no words, as generateName's.
func (a podAdmission) suffix() string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	letters := make([]byte, 5)
	for i := range letters {
		letters[i] = alphabet[a.intN(len(alphabet))]
	}
	return string(letters)
}

func mountsAt(container *corev1.Container, path string) bool {
	for _, mount := range container.VolumeMounts {
		if mount.MountPath == path {
			return true
		}
	}
	return false
}

func tokenVolume() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](tokenSeconds)}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootCAName},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path:     "namespace",
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}
}
