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
		Columns: []metav1.TableColumnDefinition{
			nameColumn(), column("Secrets", "string", corev1.ServiceAccount{}.SwaggerDoc()["secrets"]), ageColumn(),
		},
		Cells: func(obj Object) []any {
			account := obj.(*corev1.ServiceAccount)
			return []any{account.Name, int64(len(account.Secrets)), age(account)}
		},
	}
}
