package registry

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func deploymentKind() *Kind {
	return &Kind{
		GroupVersionKind: appsv1.SchemeGroupVersion.WithKind("Deployment"),
		Resource:         "deployments",
		Singular:         "deployment",
		ShortNames:       []string{"deploy"},
		Categories:       []string{"all"},
		Namespaced:       true,
		New:              func() Object { return &appsv1.Deployment{} },
		NewList:          func() runtime.Object { return &appsv1.DeploymentList{} },
		Default:          func(obj Object) { defaultDeployment(&obj.(*appsv1.Deployment).Spec) },
		PrepareForCreate: func(obj Object) {
			deployment := obj.(*appsv1.Deployment)
			deployment.Status, deployment.Generation = appsv1.DeploymentStatus{}, 1
		},
		PrepareForUpdate: func(obj, old Object) {
			prepareDeploymentUpdate(obj.(*appsv1.Deployment), old.(*appsv1.Deployment).DeepCopy())
		},
		Validate: func(obj Object) field.ErrorList { return validateDeployment(obj.(*appsv1.Deployment)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validateDeploymentUpdate(obj.(*appsv1.Deployment), old.(*appsv1.Deployment))
		},
		ValidateName: validation.NameIsDNSSubdomain,
		Warnings: func(obj, old Object) []string {
			deployment := obj.(*appsv1.Deployment)
			if old == nil {
				return workloadWarnings(obj, &deployment.Spec.Template, nil)
			}
			return workloadWarnings(obj, &deployment.Spec.Template, &old.(*appsv1.Deployment).Spec.Template)
		},
		Columns: deploymentColumns(),
		Cells:   deploymentCells,
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				deployment, before := obj.(*appsv1.Deployment), old.(*appsv1.Deployment).DeepCopy()
				deployment.Spec, deployment.Labels, deployment.Generation = before.Spec, before.Labels, before.Generation
			},
			ValidateUpdate: func(obj, old Object) field.ErrorList {
				return validateDeploymentStatus(&obj.(*appsv1.Deployment).Status, &old.(*appsv1.Deployment).Status)
			},
		},
		Scale: &ScaleStrategy{
			Replicas: func(obj Object) (int32, int32) {
				deployment := obj.(*appsv1.Deployment)
				return ptr.Deref(deployment.Spec.Replicas, 1), deployment.Status.Replicas
			},
			SetReplicas: func(obj Object, replicas int32) { obj.(*appsv1.Deployment).Spec.Replicas = &replicas },
			Selector:    func(obj Object) string { return selectorText(obj.(*appsv1.Deployment).Spec.Selector) },
		},
	}
}

func defaultDeployment(spec *appsv1.DeploymentSpec) {
	defaultPodSpec(&spec.Template.Spec)
	if spec.Replicas == nil {
		spec.Replicas = ptr.To[int32](1)
	}
	if spec.RevisionHistoryLimit == nil {
		spec.RevisionHistoryLimit = ptr.To[int32](10)
	}
	if spec.ProgressDeadlineSeconds == nil {
		spec.ProgressDeadlineSeconds = ptr.To[int32](600)
	}
	if spec.Strategy.Type == "" {
		spec.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return
	}
	if spec.Strategy.RollingUpdate == nil {
		spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{}
	}
	for _, number := range []**intstr.IntOrString{&spec.Strategy.RollingUpdate.MaxUnavailable, &spec.Strategy.RollingUpdate.MaxSurge} {
		if *number == nil {
			*number = ptr.To(intstr.FromString("25%"))
		}
	}
}

func prepareDeploymentUpdate(deployment, old *appsv1.Deployment) {
	deployment.Status = old.Status
	deployment.Generation = old.Generation
	// Annotations count: they are copied to ReplicaSets, so the controller has to look.
	if !equality.Semantic.DeepEqual(deployment.Spec, old.Spec) || !equality.Semantic.DeepEqual(deployment.Annotations, old.Annotations) {
		deployment.Generation++
	}
}

func deploymentColumns() []metav1.TableColumnDefinition {
	status := appsv1.DeploymentStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("Ready", "string", "Number of the pod with ready state"),
		column("Up-to-date", "string", status["updatedReplicas"]),
		column("Available", "string", status["availableReplicas"]),
		ageColumn(),
		wideColumn("Containers", "string", "Names of each container in the template."),
		wideColumn("Images", "string", "Images referenced by each container in the template."),
		wideColumn("Selector", "string", appsv1.DeploymentSpec{}.SwaggerDoc()["selector"]),
	}
}

func deploymentCells(obj Object) []any {
	deployment := obj.(*appsv1.Deployment)
	names, images := containersText(deployment.Spec.Template.Spec.Containers)
	return []any{
		deployment.Name,
		fmt.Sprintf("%d/%d", deployment.Status.ReadyReplicas, ptr.Deref(deployment.Spec.Replicas, 1)),
		int64(deployment.Status.UpdatedReplicas),
		int64(deployment.Status.AvailableReplicas),
		age(deployment),
		names,
		images,
		selectorText(deployment.Spec.Selector),
	}
}

// containersText joins the containers' names, and their images, with commas.
func containersText(containers []corev1.Container) (names, images string) {
	for i, container := range containers {
		if i > 0 {
			names += ","
			images += ","
		}
		names += container.Name
		images += container.Image
	}
	return names, images
}

// selectorText is the selector as `kubectl -l` takes it.
func selectorText(selector *metav1.LabelSelector) string {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return "<invalid>"
	}
	return parsed.String()
}
