package registry

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// protectedNamespaces are needed by the cluster itself and cannot be deleted.
var protectedNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

func namespaceKind() *Kind {
	kind := &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Namespace"),
		Resource:         "namespaces",
		Singular:         "namespace",
		ShortNames:       []string{"ns"},
		New:              func() Object { return &corev1.Namespace{} },
		NewList:          func() runtime.Object { return &corev1.NamespaceList{} },
		Default:          func(obj Object) { defaultNamespace(obj.(*corev1.Namespace)) },
		PrepareForCreate: func(obj Object) { prepareNamespace(obj.(*corev1.Namespace)) },
		PrepareForUpdate: func(obj, old Object) {
			namespace, before := obj.(*corev1.Namespace), old.(*corev1.Namespace).DeepCopy()
			namespace.Spec, namespace.Status = before.Spec, before.Status
		},
		ValidateName: validation.ValidateNamespaceName,
		MarkDeleted: func(obj Object) {
			obj.(*corev1.Namespace).Status.Phase = corev1.NamespaceTerminating
		},
		Held:    func(obj Object) bool { return len(obj.(*corev1.Namespace).Spec.Finalizers) > 0 },
		Columns: []metav1.TableColumnDefinition{nameColumn(), column("Status", "string", "The status of the namespace"), ageColumn()},
		Cells: func(obj Object) []any {
			namespace := obj.(*corev1.Namespace)
			return []any{namespace.Name, string(namespace.Status.Phase), age(namespace)}
		},
		Fields: func(obj Object) fields.Set {
			namespace := obj.(*corev1.Namespace)
			return fields.Set{"status.phase": string(namespace.Status.Phase), "name": namespace.Name}
		},
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				obj.(*corev1.Namespace).Spec = old.(*corev1.Namespace).DeepCopy().Spec
			},
			ValidateUpdate: validateNamespaceStatus,
		},
		Finalize: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				obj.(*corev1.Namespace).Status = old.(*corev1.Namespace).DeepCopy().Status
			},
			ValidateUpdate: func(obj, _ Object) field.ErrorList {
				return validateNamespaceFinalizers(obj.(*corev1.Namespace))
			},
		},
	}
	kind.Validate = func(obj Object) field.ErrorList { return validateNamespaceFinalizers(obj.(*corev1.Namespace)) }
	kind.AdmitDelete = func(_ context.Context, obj Object) error {
		if slices.Contains(protectedNamespaces, obj.GetName()) {
			return apierrors.NewForbidden(kind.GroupResource(), obj.GetName(), errors.New("this namespace may not be deleted"))
		}
		return nil
	}
	return kind
}

func defaultNamespace(namespace *corev1.Namespace) {
	if namespace.Status.Phase == "" {
		namespace.Status.Phase = corev1.NamespaceActive
	}
	if namespace.Name == "" {
		return
	}
	if namespace.Labels == nil {
		namespace.Labels = map[string]string{}
	}
	namespace.Labels[corev1.LabelMetadataName] = namespace.Name
}

// prepareNamespace makes a namespace active and gives it the finalizer by which the namespace controller empties it.
func prepareNamespace(namespace *corev1.Namespace) {
	namespace.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	if !slices.Contains(namespace.Spec.Finalizers, corev1.FinalizerKubernetes) {
		namespace.Spec.Finalizers = append(namespace.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
	defaultNamespace(namespace) // the name may have been generated since
}

func validateNamespaceFinalizers(namespace *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec", "finalizers")
	for i, finalizer := range namespace.Spec.Finalizers {
		errs = append(errs, validation.ValidateFinalizerName(string(finalizer), path.Index(i))...)
		if finalizer != corev1.FinalizerKubernetes && finalizer != metav1.FinalizerOrphanDependents && !isQualified(string(finalizer)) {
			errs = append(errs, field.Invalid(path.Index(i), finalizer, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

func validateNamespaceStatus(obj, _ Object) field.ErrorList {
	namespace := obj.(*corev1.Namespace)
	path := field.NewPath("status", "Phase")
	switch {
	case namespace.DeletionTimestamp.IsZero() && namespace.Status.Phase != corev1.NamespaceActive:
		return field.ErrorList{field.Invalid(path, namespace.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
	case !namespace.DeletionTimestamp.IsZero() && namespace.Status.Phase != corev1.NamespaceTerminating:
		return field.ErrorList{field.Invalid(path, namespace.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}
