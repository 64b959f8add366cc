package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func serviceKind(allocation *serviceAllocation) *Kind {
	kind := &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Service"),
		Resource:         "services",
		Singular:         "service",
		ShortNames:       []string{"svc"},
		Categories:       []string{"all"},
		Namespaced:       true,
		CreateOnUpdate:   true,
		New:              func() Object { return &corev1.Service{} },
		NewList:          func() runtime.Object { return &corev1.ServiceList{} },
		Default:          func(obj Object) { defaultService(obj.(*corev1.Service)) },
		PrepareForCreate: func(obj Object) { prepareService(obj.(*corev1.Service)) },
		PrepareForUpdate: func(obj, old Object) {
			prepareServiceUpdate(obj.(*corev1.Service), old.(*corev1.Service).DeepCopy())
		},
		Validate: func(obj Object) field.ErrorList { return validateService(obj.(*corev1.Service), nil) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateServiceUpdate(obj.(*corev1.Service), old.(*corev1.Service))
		},
		ValidateName: validation.NameIsDNSLabel,
		Warnings:     func(obj, _ Object) []string { return serviceWarnings(obj.(*corev1.Service)) },
		AfterDelete:  func(obj Object) { allocation.release(obj.(*corev1.Service)) },
		Loaded:       func(obj Object) { allocation.load(obj.(*corev1.Service)) },
		Along: func(obj, old Object) (set, removed []Object) {
			service, _ := obj.(*corev1.Service)
			before, _ := old.(*corev1.Service)
			return allocation.along(service, before)
		},
		Columns: serviceColumns(),
		Cells:   serviceCells,
		Fields: func(obj Object) fields.Set {
			service := obj.(*corev1.Service)
			return fields.Set{"spec.clusterIP": service.Spec.ClusterIP, "spec.type": string(service.Spec.Type)}
		},
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				obj.(*corev1.Service).Spec = old.(*corev1.Service).DeepCopy().Spec
			},
			ValidateUpdate: func(obj, old Object) field.ErrorList {
				return validateServiceStatus(obj.(*corev1.Service), old.(*corev1.Service))
			},
			Warnings: func(obj, _ Object) []string { return serviceStatusWarnings(obj.(*corev1.Service)) },
		},
	}
	kind.Begin = allocation.begin(kind)
	return kind
}
