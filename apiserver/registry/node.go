package registry

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

func nodeKind() *Kind {
	return &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Node"),
		Resource:         "nodes",
		Singular:         "node",
		ShortNames:       []string{"no"},
		New:              func() Object { return &corev1.Node{} },
		NewList:          func() runtime.Object { return &corev1.NodeList{} },
		Default:          func(obj Object) { defaultNode(obj.(*corev1.Node)) },
		PrepareForUpdate: func(obj, old Object) {
			obj.(*corev1.Node).Status = old.(*corev1.Node).DeepCopy().Status
		},
		Validate:       validateNode,
		ValidateUpdate: validateNodeUpdate,
		ValidateName:   validation.NameIsDNSSubdomain,
		Warnings:       nodeWarnings,
		Columns:        nodeColumns(),
		Cells:          nodeCells,
		Fields: func(obj Object) fields.Set {
			return fields.Set{"spec.unschedulable": strconv.FormatBool(obj.(*corev1.Node).Spec.Unschedulable)}
		},
		Status: &StatusStrategy{
			PrepareForUpdate: func(obj, old Object) {
				obj.(*corev1.Node).Spec = old.(*corev1.Node).DeepCopy().Spec
			},
			ValidateUpdate: validateNodeUpdate,
		},
	}
}

func defaultNode(node *corev1.Node) {
	if node.Status.Allocatable == nil && node.Status.Capacity != nil {
		node.Status.Allocatable = node.Status.Capacity.DeepCopy()
	}
	roundUp(node.Status.Capacity)
	roundUp(node.Status.Allocatable)
	// podCIDR is the older, single form of podCIDRs; it wins where they differ.
	spec := &node.Spec
	switch {
	case spec.PodCIDR == "" && len(spec.PodCIDRs) > 0:
		spec.PodCIDR = spec.PodCIDRs[0]
	case spec.PodCIDR != "" && (len(spec.PodCIDRs) == 0 || spec.PodCIDRs[0] != spec.PodCIDR):
		spec.PodCIDRs = []string{spec.PodCIDR}
	}
}
