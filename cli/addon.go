package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
)

// installAddon creates an addon's objects where they are missing. What users have changed of them stays, but for the
// containers of its Deployments, which follow this binary's version.
func installAddon(ctx context.Context, access *rest.Config, objects []runtime.Object) error {
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	installObjects(ctx, client, objects, wait.Backoff{Duration: time.Second, Factor: 2, Steps: 10, Cap: 30 * time.Second})
	return nil
}

// installObjects tries until all are installed or ctx is done: what is in an object's way, another Service with its address or a
// full disk, can be mended only while the server runs.
func installObjects(ctx context.Context, client kubernetes.Interface, objects []runtime.Object, pause wait.Backoff) {
	for {
		var left []runtime.Object
		for _, object := range objects {
			err := installObject(ctx, client, object)
			if ctx.Err() != nil {
				return // the server is ending
			}
			if err != nil {
				slog.Error("install an addon's object; trying again", "type", fmt.Sprintf("%T", object), "error", err)
				left = append(left, object)
			}
		}
		if len(left) == 0 {
			return
		}
		objects = left
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.Step()):
		}
	}
}

// installObject looks first, and creates only what is not there: to create a Service that exists is refused for its ClusterIP,
// not for its name.
func installObject(ctx context.Context, client kubernetes.Interface, object runtime.Object) error {
	switch o := object.(type) {
	case *corev1.ServiceAccount:
		api := client.CoreV1().ServiceAccounts(o.Namespace)
		return createMissing(ctx, o.Name, o, api.Get, api.Create)
	case *corev1.Service:
		api := client.CoreV1().Services(o.Namespace)
		return createMissing(ctx, o.Name, o, api.Get, api.Create)
	case *appsv1.Deployment:
		api := client.AppsV1().Deployments(o.Namespace)
		if err := createMissing(ctx, o.Name, o, api.Get, api.Create); err != nil {
			return err
		}
		return updateContainers(ctx, client, o)
	}
	return fmt.Errorf("an addon cannot have a %T", object)
}

func createMissing[T any](ctx context.Context, name string, object T,
	get func(context.Context, string, metav1.GetOptions) (T, error),
	create func(context.Context, T, metav1.CreateOptions) (T, error),
) error {
	_, err := get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = create(ctx, object, metav1.CreateOptions{})
	}
	return err
}

// updateContainers makes an addon's containers those of this version. It changes nothing where they are.
func updateContainers(ctx context.Context, client kubernetes.Interface, wanted *appsv1.Deployment) error {
	api := client.AppsV1().Deployments(wanted.Namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := api.Get(ctx, wanted.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Spec.Template.Spec.Containers = wanted.Spec.Template.Spec.Containers
		_, err = api.Update(ctx, current, metav1.UpdateOptions{})
		return err
	})
}
