package apiserver

import (
	"fmt"
	"maps"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// bind answers POST of a Pod's /binding: the scheduler's decision. It is a write of its own: the Pod's spec cannot be
// changed otherwise.
func (c *call) bind() error {
	kind := corev1.SchemeGroupVersion.WithKind("Binding")
	binding := new(corev1.Binding)
	options, format, err := c.readPosted(kind, binding)
	if err != nil {
		return err
	}
	if err := c.matchRequest(binding); err != nil {
		return err
	}
	if binding.Target.Kind != "" && binding.Target.Kind != "Node" {
		return apierrors.NewInvalid(kind.GroupKind(), binding.Name, field.ErrorList{
			field.NotSupported(field.NewPath("target", "kind"), binding.Target.Kind, []string{"Node", "<empty>"})})
	}
	if binding.Target.Name == "" {
		return apierrors.NewInvalid(kind.GroupKind(), binding.Name, field.ErrorList{field.Required(field.NewPath("target", "name"), "")})
	}
	if err := c.editPod(options, func(pod *corev1.Pod) error { return c.assign(pod, binding) }); err != nil {
		return err
	}
	writeObject(c.w, c.r, http.StatusCreated, format, successStatus(http.StatusCreated))
	return nil
}

// assign sets the node, unless the Pod has one or is going.
func (c *call) assign(pod *corev1.Pod, binding *corev1.Binding) error {
	if err := c.checkIdentity(binding, pod); err != nil {
		return err
	}
	conflict := func(format string, arguments ...any) error {
		return apierrors.NewConflict(corev1.Resource("pods/binding"), pod.Name, fmt.Errorf(format, arguments...))
	}
	switch {
	case pod.DeletionTimestamp != nil:
		return conflict("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return conflict("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) > 0:
		return conflict("pod %v has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName = binding.Target.Name
	if len(binding.Annotations) > 0 {
		annotations := maps.Clone(pod.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		maps.Copy(annotations, binding.Annotations)
		pod.Annotations = annotations
	}
	setPodScheduled(pod)
	return nil
}

// setPodScheduled makes the PodScheduled condition true.
func setPodScheduled(pod *corev1.Pod) {
	scheduled := corev1.PodCondition{
		Type:               corev1.PodScheduled,
		Status:             corev1.ConditionTrue,
		ObservedGeneration: pod.Generation,
		LastTransitionTime: metav1.Now().Rfc3339Copy(),
	}
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodScheduled {
			pod.Status.Conditions[i] = scheduled
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, scheduled)
}

// editPod changes the call's Pod past the rules of an update.
func (c *call) editPod(options writeOptions, edit func(*corev1.Pod) error) error {
	for attempt := 1; ; attempt++ {
		current, err := c.store.Get(c.key())
		if err != nil {
			return storeError(c.resource.Kind, c.name, err)
		}
		pod, ok := current.Object.DeepCopyObject().(*corev1.Pod)
		if !ok {
			return fmt.Errorf("pod %s is a %T", c.name, current.Object)
		}
		if err := edit(pod); err != nil || options.dryRun {
			return err
		}
		_, err = c.store.Update(c.r.Context(), current.Key, current.Revision, pod)
		if err == nil {
			return nil
		}
		err = storeError(c.resource.Kind, c.name, err)
		if !apierrors.IsConflict(err) || attempt == writeAttempts {
			return err
		}
	}
}

func successStatus(code int32) *metav1.Status {
	return &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: code}
}
