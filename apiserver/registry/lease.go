package registry

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func leaseKind() *Kind {
	return &Kind{
		GroupVersionKind:  coordinationv1.SchemeGroupVersion.WithKind("Lease"),
		Resource:          "leases",
		Singular:          "lease",
		Namespaced:        true,
		Volatile:          true,
		CreateOnUpdate:    true,
		ConditionalUpdate: true,
		New:               func() Object { return &coordinationv1.Lease{} },
		NewList:           func() runtime.Object { return &coordinationv1.LeaseList{} },
		Validate:          validateLease,
		ValidateUpdate:    validateLeaseUpdate,
		ValidateName:      validation.NameIsDNSSubdomain,
		Columns: []metav1.TableColumnDefinition{
			nameColumn(), column("Holder", "string", coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"]), ageColumn(),
		},
		Cells: func(obj Object) []any {
			lease := obj.(*coordinationv1.Lease)
			holder := ""
			if lease.Spec.HolderIdentity != nil {
				holder = *lease.Spec.HolderIdentity
			}
			return []any{lease.Name, holder, age(lease)}
		},
	}
}
