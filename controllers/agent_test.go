package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// agent stands in for the node agents: every Pod runs and is ready at once, unless its image is "broken", and ends as soon
// as it is deleted.
type agent struct {
	t      testing.TB
	ctx    context.Context
	client kubernetes.Interface
	serial atomic.Int64
}

// startAgent stops with ctx; the informer's goroutines have ended when the test has.
func startAgent(ctx context.Context, t testing.TB, client kubernetes.Interface) {
	a := &agent{t: t, ctx: ctx, client: client}
	factory := informers.NewSharedInformerFactory(client, 0)
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { a.follow(obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { a.follow(obj.(*corev1.Pod)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	t.Cleanup(factory.Shutdown)
}

func (a *agent) follow(pod *corev1.Pod) {
	var err error
	switch pods := a.client.CoreV1().Pods(pod.Namespace); {
	case pod.DeletionTimestamp != nil:
		now := int64(0)
		err = pods.Delete(a.ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	case pod.Status.Phase != corev1.PodRunning:
		_, err = pods.UpdateStatus(a.ctx, a.running(pod), metav1.UpdateOptions{})
	}
	if err != nil && a.ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		a.t.Errorf("agent: Pod %s: %v", pod.Name, err)
	}
}

func (a *agent) running(pod *corev1.Pod) *corev1.Pod {
	running := pod.DeepCopy()
	now := metav1.NewTime(time.Now())
	running.Status.Phase = corev1.PodRunning
	running.Status.PodIP = fmt.Sprintf("10.244.0.%d", a.serial.Add(1)%250+2)
	running.Status.PodIPs = []corev1.PodIP{{IP: running.Status.PodIP}}
	ready := corev1.ConditionTrue
	if pod.Spec.Containers[0].Image == "broken" {
		ready = corev1.ConditionFalse
	}
	running.Status.Conditions = append(running.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: ready, LastTransitionTime: now})
	return running
}
