package registry

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func replicaSetKind() *Kind {
	return &Kind{
		GroupVersionKind: appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		Resource:         "replicasets",
		Singular:         "replicaset",
		ShortNames:       []string{"rs"},
		Categories:       []string{"all"},
		Namespaced:       true,
		New:              func() Object { return &appsv1.ReplicaSet{} },
		NewList:          func() runtime.Object { return &appsv1.ReplicaSetList{} },
		Default:          func(obj Object) { defaultReplicaSet(&obj.(*appsv1.ReplicaSet).Spec) },
		PrepareForCreate: func(obj Object) {
			set := obj.(*appsv1.ReplicaSet)
			set.Status, set.Generation = appsv1.ReplicaSetStatus{}, 1
		},
		PrepareForUpdate: func(obj, old Object) {
			set, before := obj.(*appsv1.ReplicaSet), old.(*appsv1.ReplicaSet).DeepCopy()
			set.Status, set.Generation = before.Status, before.Generation
			if !equality.Semantic.DeepEqual(set.Spec, before.Spec) {
				set.Generation++
			}
		},
		Validate: func(obj Object) field.ErrorList { return validateReplicaSet(obj.(*appsv1.ReplicaSet)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateReplicaSetUpdate(obj.(*appsv1.ReplicaSet), old.(*appsv1.ReplicaSet))
		},
		ValidateName: validation.NameIsDNSSubdomain,
		Warnings: func(obj, old Object) []string {
			set := obj.(*appsv1.ReplicaSet)
			if old == nil {
				return workloadWarnings(obj, &set.Spec.Template, nil)
			}
			return workloadWarnings(obj, &set.Spec.Template, &old.(*appsv1.ReplicaSet).Spec.Template)
		},
		Columns: replicaSetColumns(),
		Cells:   replicaSetCells,
		Fields: func(obj Object) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(obj.(*appsv1.ReplicaSet).Status.Replicas))}
		},
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				set, before := obj.(*appsv1.ReplicaSet), old.(*appsv1.ReplicaSet).DeepCopy()
				set.Spec, set.Generation = before.Spec, before.Generation
			},
			ValidateUpdate: func(obj, _ Object) field.ErrorList {
				return validateReplicaSetStatus(&obj.(*appsv1.ReplicaSet).Status, field.NewPath("status"))
			},
		},
		Scale: &ScaleStrategy{
			Replicas: func(obj Object) (int32, int32) {
				set := obj.(*appsv1.ReplicaSet)
				return ptr.Deref(set.Spec.Replicas, 1), set.Status.Replicas
			},
			SetReplicas: func(obj Object, replicas int32) { obj.(*appsv1.ReplicaSet).Spec.Replicas = &replicas },
			Selector:    func(obj Object) string { return selectorText(obj.(*appsv1.ReplicaSet).Spec.Selector) },
		},
	}
}

func defaultReplicaSet(spec *appsv1.ReplicaSetSpec) {
	defaultPodSpec(&spec.Template.Spec)
	if spec.Replicas == nil {
		spec.Replicas = ptr.To[int32](1)
	}
}

func replicaSetColumns() []metav1.TableColumnDefinition {
	spec, status := appsv1.ReplicaSetSpec{}.SwaggerDoc(), appsv1.ReplicaSetStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("Desired", "integer", spec["replicas"]),
		column("Current", "integer", status["replicas"]),
		column("Ready", "integer", status["readyReplicas"]),
		ageColumn(),
		wideColumn("Containers", "string", "Names of each container in the template."),
		wideColumn("Images", "string", "Images referenced by each container in the template."),
		wideColumn("Selector", "string", spec["selector"]),
	}
}

func replicaSetCells(obj Object) []any {
	set := obj.(*appsv1.ReplicaSet)
	names, images := containersText(set.Spec.Template.Spec.Containers)
	return []any{
		set.Name,
		int64(ptr.Deref(set.Spec.Replicas, 1)),
		int64(set.Status.Replicas),
		int64(set.Status.ReadyReplicas),
		age(set),
		names,
		images,
		metav1.FormatLabelSelector(set.Spec.Selector),
	}
}
