package objects

import v1 "k8s.io/api/core/v1"

// references are the objects that a Pod's volumes and variables name, each once.
func references(pod *v1.Pod) []key {
	var keys []key
	seen := map[key]bool{}
	add := func(kind, name string) {
		key := key{kind, pod.Namespace, name}
		if name != "" && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		switch {
		case volume.ConfigMap != nil:
			add(configMaps, volume.ConfigMap.Name)
		case volume.Secret != nil:
			add(secrets, volume.Secret.SecretName)
		case volume.Projected != nil:
			for _, source := range volume.Projected.Sources {
				if source.ConfigMap != nil {
					add(configMaps, source.ConfigMap.Name)
				}
				if source.Secret != nil {
					add(secrets, source.Secret.Name)
				}
			}
		}
	}
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			for _, from := range containers[i].EnvFrom {
				if from.ConfigMapRef != nil {
					add(configMaps, from.ConfigMapRef.Name)
				}
				if from.SecretRef != nil {
					add(secrets, from.SecretRef.Name)
				}
			}
			for _, variable := range containers[i].Env {
				if variable.ValueFrom == nil {
					continue
				}
				if variable.ValueFrom.ConfigMapKeyRef != nil {
					add(configMaps, variable.ValueFrom.ConfigMapKeyRef.Name)
				}
				if variable.ValueFrom.SecretKeyRef != nil {
					add(secrets, variable.ValueFrom.SecretKeyRef.Name)
				}
			}
		}
	}
	return keys
}
