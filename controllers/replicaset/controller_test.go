package replicaset

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
)

// cluster is client-go's in-memory API with a running controller.
type cluster struct {
	t        *testing.T
	ctx      context.Context
	client   *fake.Clientset
	recorder *record.FakeRecorder
	refuse   atomic.Pointer[apierrors.StatusError] // what creating a Pod is answered with, if not nil
}

func startCluster(t *testing.T, objects ...runtime.Object) *cluster {
	ctx, cancel := context.WithCancel(t.Context())
	c := &cluster{t: t, ctx: ctx, client: fake.NewClientset(objects...), recorder: record.NewFakeRecorder(1000)}
	var serial atomic.Int64
	c.client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if refused := c.refuse.Load(); refused != nil {
			return true, nil, refused
		}
		pod := action.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		if pod.Name == "" {
			pod.Name = fmt.Sprintf("%s%05d", pod.GenerateName, serial.Add(1))
		}
		pod.UID = types.UID(pod.Name)
		return false, nil, nil
	})
	// The in-memory API would take the spec of a status update, too.
	c.client.PrependReactor("update", "replicasets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "status" {
			return false, nil, nil
		}
		sent := action.(clienttesting.UpdateAction).GetObject().(*appsv1.ReplicaSet)
		stored, err := c.client.Tracker().Get(action.GetResource(), sent.Namespace, sent.Name)
		if err != nil {
			return true, nil, err
		}
		merged := stored.(*appsv1.ReplicaSet).DeepCopy()
		merged.Status = sent.Status
		return true, merged, c.client.Tracker().Update(action.GetResource(), merged, sent.Namespace)
	})
	factory := informers.NewSharedInformerFactory(c.client, 0)
	controller, err := New(c.client, factory, c.recorder)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	factory.Start(ctx.Done())
	go func() {
		defer close(done)
		controller.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		factory.Shutdown()
	})
	return c
}

func (c *cluster) pods() []corev1.Pod {
	c.t.Helper()
	list, err := c.client.CoreV1().Pods("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func (c *cluster) set() *appsv1.ReplicaSet {
	c.t.Helper()
	rs, err := c.client.AppsV1().ReplicaSets("default").Get(c.ctx, "web", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return rs
}

func (c *cluster) eventually(what string, condition func() bool) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.ctx, time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
	if err != nil {
		c.t.Fatalf("%s did not come true; status %v", what, c.set().Status)
	}
}

func (c *cluster) creations() int {
	count := 0
	for _, action := range c.client.Actions() {
		if action.Matches("create", "pods") {
			count++
		}
	}
	return count
}

func TestCreatesItsPodsOnce(t *testing.T) {
	c := startCluster(t, newSet(20))
	c.eventually("20 replicas in the status", func() bool { return c.set().Status.Replicas == 20 })
	if got := c.creations(); got != 20 {
		t.Errorf("%d Pods were created, want 20", got)
	}
	for _, pod := range c.pods() {
		ref := metav1.GetControllerOf(&pod)
		if ref == nil || ref.UID != "rs" || ref.BlockOwnerDeletion == nil || !*ref.BlockOwnerDeletion {
			t.Errorf("%s has the controller %v, want rs, blocking", pod.Name, ref)
		}
		if pod.Labels["app"] != "web" || !strings.HasPrefix(pod.Name, "web-") {
			t.Errorf("%s has labels %v", pod.Name, pod.Labels)
		}
	}
	if event := <-c.recorder.Events; !strings.HasPrefix(event, "Normal SuccessfulCreate Created pod: web-") {
		t.Errorf("the first event is %q", event)
	}
}

func TestScalesDownAndReplaces(t *testing.T) {
	c := startCluster(t, newSet(3))
	c.eventually("3 replicas", func() bool { return c.set().Status.Replicas == 3 })
	gone := c.pods()[0].Name
	if err := c.client.CoreV1().Pods("default").Delete(c.ctx, gone, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("a replacement", func() bool {
		pods := c.pods()
		return len(pods) == 3 && !slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return pod.Name == gone })
	})
	rs := c.set()
	rs.Spec.Replicas = ptr.To[int32](1)
	if _, err := c.client.AppsV1().ReplicaSets("default").Update(c.ctx, rs, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("1 replica", func() bool { return len(c.pods()) == 1 && c.set().Status.Replicas == 1 })
}

func TestAdoptsAndReleases(t *testing.T) {
	orphan := pod("orphan")
	orphan.Namespace, orphan.Labels = "default", map[string]string{"app": "web"}
	c := startCluster(t, newSet(1), orphan)
	c.eventually("the orphan is adopted", func() bool {
		pods := c.pods()
		return len(pods) == 1 && metav1.IsControlledBy(&pods[0], c.set())
	})
	c.eventually("it counts as ready", func() bool { return c.set().Status.ReadyReplicas == 1 })
	adopted := c.pods()[0]
	adopted.Labels = map[string]string{"app": "other"}
	if _, err := c.client.CoreV1().Pods("default").Update(c.ctx, &adopted, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("it is released and replaced", func() bool {
		pods := c.pods()
		if len(pods) != 2 {
			return false
		}
		i := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return pod.Name == "orphan" })
		return metav1.GetControllerOf(&pods[i]) == nil
	})
}

func TestReportsFailure(t *testing.T) {
	c := startCluster(t, newSet(0))
	c.refuse.Store(apierrors.NewForbidden(corev1.Resource("pods"), "", fmt.Errorf("no room")))
	rs := c.set()
	rs.Spec.Replicas = ptr.To[int32](4)
	if _, err := c.client.AppsV1().ReplicaSets("default").Update(c.ctx, rs, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("ReplicaFailure", func() bool {
		conditions := c.set().Status.Conditions
		return len(conditions) == 1 && conditions[0].Reason == "FailedCreate" && strings.Contains(conditions[0].Message, "no room")
	})
	if event := <-c.recorder.Events; !strings.HasPrefix(event, "Warning FailedCreate Error creating: ") {
		t.Errorf("the first event is %q", event)
	}
	c.refuse.Store(nil)
	c.eventually("recovery", func() bool { return len(c.pods()) == 4 && len(c.set().Status.Conditions) == 0 })
}
