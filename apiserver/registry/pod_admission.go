package registry

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// podAdmission does for new Pods what Kubernetes' admission plugins ServiceAccount, Priority and
// DefaultTolerationSeconds do.
type podAdmission struct {
	accounts *serviceAccountLookup
	intN     func(n int) int
	resource schema.GroupResource
}

func (a podAdmission) admit(ctx context.Context, obj, old Object) (func(bool), error) {
	if old != nil {
		return nil, nil
	}
	pod := obj.(*corev1.Pod)
	if err := a.setServiceAccount(ctx, pod); err != nil {
		return nil, apierrors.NewForbidden(a.resource, pod.Name, err)
	}
	if err := setPriority(&pod.Spec); err != nil {
		return nil, apierrors.NewForbidden(a.resource, pod.Name, err)
	}
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		tolerateForAWhile(&pod.Spec, taint)
	}
	return nil, nil
}

func (a podAdmission) setServiceAccount(ctx context.Context, pod *corev1.Pod) error {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		if pod.Spec.ServiceAccountName != "" {
			return fmt.Errorf("a mirror pod may not reference service accounts")
		}
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultServiceAccount
		pod.Spec.DeprecatedServiceAccount = defaultServiceAccount
	}
	account, err := a.accounts.get(ctx, pod.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return fmt.Errorf("error looking up service account %s/%s: %w", pod.Namespace, pod.Spec.ServiceAccountName, err)
	}
	if mountsToken(account, &pod.Spec) {
		a.mountToken(&pod.Spec)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = append([]corev1.LocalObjectReference(nil), account.ImagePullSecrets...)
	}
	return nil
}

// setPriority knows Kubernetes' two built-in classes; there are no PriorityClass objects.
func setPriority(spec *corev1.PodSpec) error {
	var priority int32
	switch spec.PriorityClassName {
	case "":
	case "system-cluster-critical":
		priority = 2000000000
	case "system-node-critical":
		priority = 2000001000
	default:
		return fmt.Errorf("no PriorityClass with name %v was found", spec.PriorityClassName)
	}
	if spec.Priority != nil && *spec.Priority != priority {
		return fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *spec.Priority, priority)
	}
	policy := corev1.PreemptLowerPriority
	if spec.PreemptionPolicy != nil && *spec.PreemptionPolicy != policy {
		return fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *spec.PreemptionPolicy, policy)
	}
	spec.Priority, spec.PreemptionPolicy = &priority, &policy
	return nil
}

// tolerateForAWhile keeps a Pod 300 s on a node that is gone, unless the Pod says otherwise.
func tolerateForAWhile(spec *corev1.PodSpec, taint string) {
	for _, toleration := range spec.Tolerations {
		if (toleration.Key == taint || toleration.Key == "") &&
			(toleration.Effect == corev1.TaintEffectNoExecute || toleration.Effect == "") {
			return
		}
	}
	spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
		Key:               taint,
		Operator:          corev1.TolerationOpExists,
		Effect:            corev1.TaintEffectNoExecute,
		TolerationSeconds: ptr.To[int64](300),
	})
}
