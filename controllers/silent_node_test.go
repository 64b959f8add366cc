package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/nodelifecycle"
	"github.com/kubelite/kubelite/controllers/podgc"
)

// startNodeControllers runs what watches over Nodes, with little patience, until the test ends.
func (c *cluster) startNodeControllers(grace, quarantine time.Duration) {
	c.t.Helper()
	factory := informers.NewSharedInformerFactory(c.client, 0)
	lifecycle, err := nodelifecycle.New(c.client, factory, record.NewFakeRecorder(1000), grace)
	if err != nil {
		c.t.Fatal(err)
	}
	collector, err := podgc.New(c.client, factory, podgc.Settings{Quarantine: quarantine})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	var running sync.WaitGroup
	running.Go(func() { lifecycle.Run(ctx) })
	running.Go(func() { collector.Run(ctx) })
	factory.Start(ctx.Done())
	c.t.Cleanup(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
}

// createNode makes a Node that is ready, with a Lease.
func (c *cluster) createNode(name string) {
	c.t.Helper()
	node, err := c.client.CoreV1().Nodes().Create(c.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.reportReady(node)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, RenewTime: ptr.To(metav1.NowMicro())},
	}
	if _, err := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(c.ctx, lease, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) reportReady(node *corev1.Node) {
	c.t.Helper()
	node.ResourceVersion = "" // whatever the controllers have written meanwhile: only the status is changed
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("110")}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: metav1.Now()}}
	if _, err := c.client.CoreV1().Nodes().UpdateStatus(c.ctx, node, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// createPodOn makes a Pod that is bound to the node and stays there for some seconds when the node is silent; nil: for ever.
func (c *cluster) createPodOn(node, name string, seconds *int64) {
	c.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName:   node,
			Containers: []corev1.Container{{Name: "c", Image: "v1"}},
			Tolerations: []corev1.Toleration{{
				Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: seconds,
			}},
		},
	}
	if _, err := c.client.CoreV1().Pods("default").Create(c.ctx, pod, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	c.eventually(name+" runs", func() bool { return strings.Contains(c.podState(name), "Ready=True") })
}

func (c *cluster) podState(name string) string {
	pod, err := c.client.CoreV1().Pods("default").Get(c.ctx, name, metav1.GetOptions{})
	if err != nil {
		return string(apierrors.ReasonForError(err))
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return fmt.Sprintf("%s Ready=%s", pod.Status.Phase, condition.Status)
		}
	}
	return string(pod.Status.Phase)
}

// nodeState is "Unknown NodeStatusUnknown [taints]".
func (c *cluster) nodeState(name string) string {
	node, err := c.client.CoreV1().Nodes().Get(c.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	var taints []string
	for _, taint := range node.Spec.Taints {
		taints = append(taints, strings.TrimPrefix(taint.Key, "node.kubernetes.io/")+":"+string(taint.Effect))
	}
	slices.Sort(taints)
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return fmt.Sprintf("%s %s %v", condition.Status, condition.Reason, taints)
		}
	}
	return fmt.Sprintf("no condition %v", taints)
}

func TestSilentNode(t *testing.T) {
	c := startWithoutControllers(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.client.CoreV1().ServiceAccounts("default").Create(c.ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.createNode("silent")
	c.createPodOn("silent", "impatient", ptr.To[int64](0))
	c.createPodOn("silent", "patient", nil)
	c.startNodeControllers(100*time.Millisecond, time.Hour)
	c.eventually("the Node is known to be silent", func() bool {
		return c.nodeState("silent") == "Unknown NodeStatusUnknown [unreachable:NoExecute unreachable:NoSchedule]"
	})
	c.eventually("the impatient Pod is evicted", func() bool { return c.podState("impatient") == "NotFound" })
	c.eventually("the patient Pod is not ready", func() bool { return c.podState("patient") == "Running Ready=False" })
}

func TestRecoveredNode(t *testing.T) {
	c := startWithoutControllers(t)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "back"},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{
			{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule}, {Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute},
			{Key: "example.com/mine", Effect: corev1.TaintEffectNoSchedule},
		}},
	}
	node, err := c.client.CoreV1().Nodes().Create(c.ctx, node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.startNodeControllers(time.Hour, time.Hour)
	c.reportReady(node)
	c.eventually("only the user's taint is left", func() bool { return c.nodeState("back") == "True KubeletReady [example.com/mine:NoSchedule]" })
}

func TestPodsOfALostNode(t *testing.T) {
	c := startWithoutControllers(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.client.CoreV1().ServiceAccounts("default").Create(c.ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.createNode("lost")
	c.createNode("there")
	c.createPodOn("lost", "stranded", nil)
	c.createPodOn("there", "settled", nil)
	c.startNodeControllers(time.Hour, 50*time.Millisecond)
	if err := c.client.CoreV1().Nodes().Delete(c.ctx, "lost", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the lost Node's Pod is collected", func() bool { return c.podState("stranded") == "NotFound" })
	if state := c.podState("settled"); state != "Running Ready=True" {
		t.Errorf("the other Node's Pod is %s", state)
	}
}
