package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func configMapKind() *Kind {
	return &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Resource:         "configmaps",
		Singular:         "configmap",
		ShortNames:       []string{"cm"},
		Namespaced:       true,
		New:              func() Object { return &corev1.ConfigMap{} },
		NewList:          func() runtime.Object { return &corev1.ConfigMapList{} },
		Validate:         validateConfigMap,
		ValidateUpdate:   validateConfigMapUpdate,
		ValidateName:     validation.NameIsDNSSubdomain,
		Columns: []metav1.TableColumnDefinition{
			nameColumn(), column("Data", "string", corev1.ConfigMap{}.SwaggerDoc()["data"]), ageColumn(),
		},
		Cells: func(obj Object) []any {
			config := obj.(*corev1.ConfigMap)
			return []any{config.Name, int64(len(config.Data) + len(config.BinaryData)), age(config)}
		},
	}
}
