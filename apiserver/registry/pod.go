package registry

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func podKind(accounts *serviceAccountLookup, intN func(int) int) *Kind {
	kind := &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Pod"),
		Resource:         "pods",
		Singular:         "pod",
		ShortNames:       []string{"po"},
		Categories:       []string{"all"},
		Namespaced:       true,
		New:              func() Object { return &corev1.Pod{} },
		NewList:          func() runtime.Object { return &corev1.PodList{} },
		Default:          func(obj Object) { defaultPod(obj.(*corev1.Pod)); syncPodIPs(&obj.(*corev1.Pod).Status) },
		PrepareForCreate: func(obj Object) { preparePod(obj.(*corev1.Pod)) },
		PrepareForUpdate: func(obj, old Object) { preparePodUpdate(obj.(*corev1.Pod), old.(*corev1.Pod).DeepCopy()) },
		Validate:         func(obj Object) field.ErrorList { return validatePod(obj.(*corev1.Pod)) },
		ValidateUpdate: func(obj, old Object) field.ErrorList {
			return validatePodUpdate(obj.(*corev1.Pod), old.(*corev1.Pod))
		},
		ValidateName: validation.NameIsDNSSubdomain,
		Warnings: func(obj, old Object) []string {
			if old != nil {
				return nil
			}
			return podWarnings(obj.(*corev1.Pod))
		},
		GracePeriod: func(obj Object, asked *int64) int64 { return podGracePeriod(obj.(*corev1.Pod), asked) },
		Columns:     podColumns(),
		Cells:       podCells,
		Fields:      podFields,
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) { preparePodStatus(obj.(*corev1.Pod), old.(*corev1.Pod).DeepCopy()) },
			ValidateUpdate: func(obj, old Object) field.ErrorList {
				return validatePodStatusUpdate(obj.(*corev1.Pod), old.(*corev1.Pod))
			},
		},
	}
	admission := podAdmission{accounts: accounts, intN: intN, resource: kind.GroupResource()}
	kind.Admit = admission.admit
	return kind
}

func preparePod(pod *corev1.Pod) {
	pod.Generation = 1
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: qosClass(pod)}
	if len(pod.Spec.SchedulingGates) > 0 {
		pod.Status.Conditions = []corev1.PodCondition{{
			Type:    corev1.PodScheduled,
			Status:  corev1.ConditionFalse,
			Reason:  corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",
		}}
	}
}

func preparePodUpdate(pod, old *corev1.Pod) {
	pod.Status = old.Status
	pod.Generation = old.Generation
	if !equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		pod.Generation++
	}
}

func preparePodStatus(pod, old *corev1.Pod) {
	pod.Spec, pod.Generation, pod.OwnerReferences = old.Spec, old.Generation, old.OwnerReferences
	if pod.Status.QOSClass == "" {
		pod.Status.QOSClass = old.Status.QOSClass
	}
}

// syncPodIPs keeps podIP, the older form, and podIPs the same; podIP wins where they differ.
func syncPodIPs(status *corev1.PodStatus) {
	switch {
	case status.PodIP == "" && len(status.PodIPs) > 0:
		status.PodIP = status.PodIPs[0].IP
	case status.PodIP != "" && (len(status.PodIPs) == 0 || status.PodIPs[0].IP != status.PodIP):
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	}
}

// podGracePeriod is 0 for a Pod that no agent keeps, because it was never scheduled or has ended.
func podGracePeriod(pod *corev1.Pod, asked *int64) int64 {
	ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	if pod.Spec.NodeName == "" || ended {
		return 0
	}
	period := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if asked != nil {
		period = *asked
	} else if pod.Spec.TerminationGracePeriodSeconds != nil {
		period = *pod.Spec.TerminationGracePeriodSeconds
	}
	if period < 0 {
		return 1
	}
	return period
}

func podFields(obj Object) fields.Set {
	pod := obj.(*corev1.Pod)
	return fields.Set{
		"spec.nodeName":            pod.Spec.NodeName,
		"spec.restartPolicy":       string(pod.Spec.RestartPolicy),
		"spec.schedulerName":       pod.Spec.SchedulerName,
		"spec.serviceAccountName":  pod.Spec.ServiceAccountName,
		"spec.hostNetwork":         strconv.FormatBool(pod.Spec.HostNetwork),
		"status.phase":             string(pod.Status.Phase),
		"status.podIP":             pod.Status.PodIP,
		"status.nominatedNodeName": pod.Status.NominatedNodeName,
	}
}
