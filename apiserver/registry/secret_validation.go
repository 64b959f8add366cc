package registry

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func validateSecret(obj Object) field.ErrorList {
	secret := obj.(*corev1.Secret)
	var errs field.ErrorList
	path := field.NewPath("data")
	size := 0
	for _, key := range sortedKeys(secret.Data) {
		errs = append(errs, invalidFor(path.Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(secret.Data[key])
	}
	if size > maxDataBytes {
		errs = append(errs, field.TooLong(path, "", maxDataBytes))
	}
	return append(errs, validateSecretType(path, secret)...)
}

// validateSecretType requires the keys that the Secret's type promises.
func validateSecretType(path *field.Path, secret *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	require := func(keys ...string) {
		for _, key := range keys {
			if _, found := secret.Data[key]; !found {
				errs = append(errs, field.Required(path.Key(key), ""))
			}
		}
	}
	requireJSON := func(key string) {
		data, found := secret.Data[key]
		if !found {
			errs = append(errs, field.Required(path.Key(key), ""))
			return
		}
		var parsed map[string]any
		if err := json.Unmarshal(data, &parsed); err != nil {
			errs = append(errs, field.Invalid(path.Key(key), "<secret contents redacted>", err.Error()))
		}
	}
	switch secret.Type {
	case corev1.SecretTypeServiceAccountToken:
		if secret.Annotations[corev1.ServiceAccountNameKey] == "" {
			errs = append(errs, field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), ""))
		}
	case corev1.SecretTypeDockercfg:
		requireJSON(corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		requireJSON(corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, user := secret.Data[corev1.BasicAuthUsernameKey]
		_, password := secret.Data[corev1.BasicAuthPasswordKey]
		if !user && !password {
			require(corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
		}
	case corev1.SecretTypeSSHAuth:
		if len(secret.Data[corev1.SSHAuthPrivateKey]) == 0 {
			errs = append(errs, field.Required(path.Key(corev1.SSHAuthPrivateKey), ""))
		}
	case corev1.SecretTypeTLS:
		require(corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return errs
}

func validateSecretUpdate(obj, old Object) field.ErrorList {
	secret, before := obj.(*corev1.Secret), old.(*corev1.Secret)
	errs := apivalidation.ValidateImmutableField(secret.Type, before.Type, field.NewPath("type"))
	if ptr.Deref(before.Immutable, false) {
		if !ptr.Deref(secret.Immutable, false) {
			errs = append(errs, immutable("immutable"))
		}
		if !equality.Semantic.DeepEqual(secret.Data, before.Data) {
			errs = append(errs, immutable("data"))
		}
	}
	return append(errs, validateSecret(secret)...)
}
