package volumes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubelite/kubelite/nodeagent/environment"
)

const defaultMode int32 = 0o644

// source is one thing that files of a volume come from.
type source struct {
	configMap *v1.ConfigMapProjection
	secret    *v1.SecretProjection
	downward  []v1.DownwardAPIVolumeFile
	token     *v1.ServiceAccountTokenProjection
}

// sourcesOf lists what a volume's files come from, and their mode. ok is false for a volume that is not made of files.
func sourcesOf(volume *v1.Volume) (sources []source, mode int32, ok bool, err error) {
	pick := func(mode *int32) int32 {
		if mode != nil {
			return *mode
		}
		return defaultMode
	}
	switch {
	case volume.ConfigMap != nil:
		from := volume.ConfigMap
		projection := &v1.ConfigMapProjection{LocalObjectReference: from.LocalObjectReference, Items: from.Items, Optional: from.Optional}
		return []source{{configMap: projection}}, pick(from.DefaultMode), true, nil
	case volume.Secret != nil:
		from := volume.Secret
		projection := &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: from.SecretName}, Items: from.Items, Optional: from.Optional}
		return []source{{secret: projection}}, pick(from.DefaultMode), true, nil
	case volume.DownwardAPI != nil:
		return []source{{downward: volume.DownwardAPI.Items}}, pick(volume.DownwardAPI.DefaultMode), true, nil
	case volume.Projected != nil:
		for _, from := range volume.Projected.Sources {
			next := source{configMap: from.ConfigMap, secret: from.Secret, token: from.ServiceAccountToken}
			if from.DownwardAPI != nil {
				next.downward = from.DownwardAPI.Items
			}
			if next.configMap == nil && next.secret == nil && next.token == nil && from.DownwardAPI == nil {
				return nil, 0, true, errors.New("a projected source is of a kind that kubelite does not have")
			}
			sources = append(sources, next)
		}
		return sources, pick(volume.Projected.DefaultMode), true, nil
	}
	return nil, 0, false, nil
}

// payload gathers a volume's files. refresh is when a token in it is to be renewed, zero if there is none.
func (v *Volumes) payload(ctx context.Context, pod *v1.Pod, volume *v1.Volume, sources []source, mode int32, facts environment.Facts) (payload, time.Time, error) {
	content := payload{}
	var refresh time.Time
	for i := range sources {
		var err error
		switch from := &sources[i]; {
		case from.configMap != nil:
			err = v.addConfigMap(ctx, content, pod.Namespace, from.configMap, mode)
		case from.secret != nil:
			err = v.addSecret(ctx, content, pod.Namespace, from.secret, mode)
		case from.token != nil:
			var renew time.Time
			renew, err = v.addToken(ctx, content, pod, volume.Name, from.token, mode)
			if refresh.IsZero() || renew.Before(refresh) {
				refresh = renew
			}
		default:
			err = addDownward(content, pod, from.downward, mode, facts)
		}
		if err != nil {
			return nil, time.Time{}, err
		}
	}
	return content, refresh, nil
}

func (v *Volumes) addConfigMap(ctx context.Context, content payload, namespace string, from *v1.ConfigMapProjection, mode int32) error {
	configMap, err := v.Objects.ConfigMap(ctx, namespace, from.Name)
	if err != nil {
		return unlessOptional(err, from.Optional)
	}
	data := make(map[string][]byte, len(configMap.Data)+len(configMap.BinaryData))
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	maps.Copy(data, configMap.BinaryData)
	return addKeys(content, data, from.Items, mode, from.Optional, "config")
}

func (v *Volumes) addSecret(ctx context.Context, content payload, namespace string, from *v1.SecretProjection, mode int32) error {
	secret, err := v.Objects.Secret(ctx, namespace, from.Name)
	if err != nil {
		return unlessOptional(err, from.Optional)
	}
	return addKeys(content, secret.Data, from.Items, mode, from.Optional, "secret")
}

// addKeys adds all keys, or those that items choose.
func addKeys(content payload, data map[string][]byte, items []v1.KeyToPath, mode int32, optional *bool, kind string) error {
	if len(items) == 0 {
		for key, value := range data {
			content[key] = file{value, os.FileMode(mode)}
		}
		return nil
	}
	for _, item := range items {
		value, found := data[item.Key]
		if !found {
			if isTrue(optional) {
				continue
			}
			return fmt.Errorf("references non-existent %s key: %s", kind, item.Key)
		}
		content[item.Path] = file{value, os.FileMode(modeOr(item.Mode, mode))}
	}
	return nil
}

func addDownward(content payload, pod *v1.Pod, items []v1.DownwardAPIVolumeFile, mode int32, facts environment.Facts) error {
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = environment.Field(pod, item.FieldRef.FieldPath, facts)
		case item.ResourceFieldRef != nil:
			value, err = environment.Resource(pod, nil, item.ResourceFieldRef, facts)
		default:
			err = fmt.Errorf("downward API file %s has neither fieldRef nor resourceFieldRef", item.Path)
		}
		if err != nil {
			return err
		}
		content[item.Path] = file{[]byte(value), os.FileMode(modeOr(item.Mode, mode))}
	}
	return nil
}

func modeOr(mode *int32, other int32) int32 {
	if mode != nil {
		return *mode
	}
	return other
}

func unlessOptional(err error, optional *bool) error {
	if isTrue(optional) && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func isTrue(value *bool) bool { return value != nil && *value }
