package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func serviceKind(config Config) *Kind {
	allocation := newServiceAllocation(config)
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
		Validate: func(obj Object) field.ErrorList { return validateService(obj.(*corev1.Service)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateServiceUpdate(obj.(*corev1.Service), old.(*corev1.Service))
		},
		ValidateName: validation.NameIsDNS1035Label,
		Warnings:     func(obj, _ Object) []string { return serviceWarnings(obj.(*corev1.Service)) },
		AfterDelete:  func(obj Object) { allocation.release(obj.(*corev1.Service)) },
		Loaded:       func(obj Object) { allocation.load(obj.(*corev1.Service)) },
		Columns:      serviceColumns(),
		Cells:        serviceCells,
		Fields: func(obj Object) fields.Set {
			service := obj.(*corev1.Service)
			return fields.Set{"spec.clusterIP": service.Spec.ClusterIP, "spec.type": string(service.Spec.Type)}
		},
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				obj.(*corev1.Service).Spec = old.(*corev1.Service).DeepCopy().Spec
			},
			ValidateUpdate: func(obj, _ Object) field.ErrorList {
				service := obj.(*corev1.Service)
				return validateLoadBalancerStatus(&service.Status.LoadBalancer, field.NewPath("status", "loadBalancer"), service.Spec.Type)
			},
		},
	}
	kind.Admit = allocation.admit(kind)
	return kind
}
