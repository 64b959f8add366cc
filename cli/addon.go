package cli

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// installAddon creates an addon's objects where they are missing. What users have changed of them stays, but for the
// containers of its Deployments, which follow this binary's version.
func installAddon(ctx context.Context, access *rest.Config, objects []runtime.Object) error {
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	for _, object := range objects {
		err := installObject(ctx, client, object)
		if ctx.Err() != nil {
			return nil // the server is ending
		}
		if err != nil {
			return fmt.Errorf("install addon: %w", err)
		}
	}
	return nil
}

func installObject(ctx context.Context, client kubernetes.Interface, object runtime.Object) error {
	var err error
	switch o := object.(type) {
	case *corev1.ServiceAccount:
		_, err = client.CoreV1().ServiceAccounts(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *corev1.Service:
		_, err = client.CoreV1().Services(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.Deployment:
		_, err = client.AppsV1().Deployments(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return updateContainers(ctx, client, o)
		}
	default:
		return fmt.Errorf("an addon cannot have a %T", object)
	}
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// updateContainers makes an addon's containers those of this version. It changes nothing where they are.
func updateContainers(ctx context.Context, client kubernetes.Interface, wanted *appsv1.Deployment) error {
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": wanted.Spec.Template.Spec.Containers,
	}}}}
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = client.AppsV1().Deployments(wanted.Namespace).Patch(ctx, wanted.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{})
	return err
}
