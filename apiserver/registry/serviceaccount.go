package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func serviceAccountKind(accounts *serviceAccountLookup) *Kind {
	return &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
		Resource:         "serviceaccounts",
		Singular:         "serviceaccount",
		ShortNames:       []string{"sa"},
		Namespaced:       true,
		New:              func() Object { return &corev1.ServiceAccount{} },
		NewList:          func() runtime.Object { return &corev1.ServiceAccountList{} },
		ValidateName:     validation.ValidateServiceAccountName,
		Admit: func(_ context.Context, _, old Object) (func(bool), error) {
			if old != nil {
				return nil, nil
			}
			return func(committed bool) {
				if committed {
					accounts.created()
				}
			}, nil
		},
		// Kubernetes' older column "Secrets" went in v1.35: it had shown 0 since tokens are no Secrets any more.
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells:   func(obj Object) []any { return []any{obj.GetName(), age(obj)} },
	}
}
