package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

func secretKind() *Kind {
	return &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Secret"),
		Resource:         "secrets",
		Singular:         "secret",
		Namespaced:       true,
		New:              func() Object { return &corev1.Secret{} },
		NewList:          func() runtime.Object { return &corev1.SecretList{} },
		Default:          func(obj Object) { defaultSecret(obj.(*corev1.Secret)) },
		Validate:         validateSecret,
		ValidateUpdate:   validateSecretUpdate,
		ValidateName:     validation.NameIsDNSSubdomain,
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Type", "string", corev1.Secret{}.SwaggerDoc()["type"]),
			column("Data", "string", corev1.Secret{}.SwaggerDoc()["data"]),
			ageColumn(),
		},
		Cells: func(obj Object) []any {
			secret := obj.(*corev1.Secret)
			return []any{secret.Name, string(secret.Type), int64(len(secret.Data)), age(secret)}
		},
		Fields: func(obj Object) fields.Set { return fields.Set{"type": string(obj.(*corev1.Secret).Type)} },
	}
}

// defaultSecret moves stringData, which is for writing only, into data.
func defaultSecret(secret *corev1.Secret) {
	if secret.Type == "" {
		secret.Type = corev1.SecretTypeOpaque
	}
	for key, value := range secret.StringData {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[key] = []byte(value)
	}
	secret.StringData = nil
}
