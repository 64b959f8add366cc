package controllers

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/polymorphichelpers"
	"k8s.io/utils/ptr"
)

// cluster is the real API server with all controllers, and an agent that stands in for the nodes.
type cluster struct {
	t      testing.TB
	ctx    context.Context
	config *rest.Config
	client kubernetes.Interface
}

func startCluster(t testing.TB) *cluster {
	c := startWithoutControllers(t)
	t.Cleanup(c.startControllers())
	return c
}

func startWithoutControllers(t testing.TB) *cluster {
	config := startServer(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	startAgent(ctx, t, client)
	t.Cleanup(cancel)
	return &cluster{t: t, ctx: ctx, config: config, client: client}
}

// startControllers returns what stops them.
func (c *cluster) startControllers() (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan error, 1)
	go func() { done <- Run(ctx, testConfig(c.config)) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("the controllers ended with: %v", err)
		}
	}
}

func testConfig(config *rest.Config) Config {
	return Config{
		RestConfig:       config,
		RootCA:           config.CAData,
		ClusterCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		NodeMask:         24,
		LoadBalancerPool: AddressRange{netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("192.168.1.250")},
	}
}

func (c *cluster) eventually(what string, condition func() bool) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.ctx, 2*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
	if err != nil {
		c.t.Fatalf("%s did not come true;\n%s", what, c.dump())
	}
}

// dump shows the Deployments, ReplicaSets and Pods of all namespaces, and the warnings.
func (c *cluster) dump() string {
	var out strings.Builder
	if list, err := c.client.AppsV1().Deployments("").List(c.ctx, metav1.ListOptions{}); err == nil {
		for _, d := range list.Items {
			fmt.Fprintf(&out, "Deployment %s/%s %v %v\n", d.Namespace, d.Name, d.Annotations, d.Status)
		}
	}
	if list, err := c.client.AppsV1().ReplicaSets("").List(c.ctx, metav1.ListOptions{}); err == nil {
		for _, rs := range list.Items {
			fmt.Fprintf(&out, "ReplicaSet %s/%s %d %v\n", rs.Namespace, rs.Name, *rs.Spec.Replicas, rs.Status)
		}
	}
	if list, err := c.client.CoreV1().Pods("").List(c.ctx, metav1.ListOptions{}); err == nil {
		for _, pod := range list.Items {
			fmt.Fprintf(&out, "Pod %s/%s %s %v\n", pod.Namespace, pod.Name, pod.Status.Phase, pod.DeletionTimestamp)
		}
	}
	if list, err := c.client.CoreV1().Events("").List(c.ctx, metav1.ListOptions{}); err == nil {
		for _, event := range list.Items {
			fmt.Fprintf(&out, "Event %s %s/%s %s: %s\n", event.Type, event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Reason, event.Message)
		}
	}
	return out.String()
}

// deploy creates the Deployment "web" and waits until it is complete.
func (c *cluster) deploy(namespace string, replicas int32) *appsv1.Deployment {
	c.t.Helper()
	_, err := c.client.AppsV1().Deployments(namespace).Create(c.ctx, newDeployment("web", replicas), metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.rolledOut(namespace)
	return c.deployment(namespace)
}

func newDeployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "v1"}}},
			},
		},
	}
}

func (c *cluster) deployment(namespace string) *appsv1.Deployment {
	c.t.Helper()
	d, err := c.client.AppsV1().Deployments(namespace).Get(c.ctx, "web", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

// rolledOut waits until `kubectl rollout status` would end.
func (c *cluster) rolledOut(namespace string) {
	c.t.Helper()
	viewer, err := polymorphichelpers.StatusViewerFor(appsv1.SchemeGroupVersion.WithKind("Deployment").GroupKind())
	if err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the rollout", func() bool {
		_, done, err := viewer.Status(toUnstructured(c.t, c.deployment(namespace)), 0)
		return err == nil && done
	})
}

func (c *cluster) patch(patch string) {
	c.t.Helper()
	_, err := c.client.AppsV1().Deployments("default").Patch(c.ctx, "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) setImage(image string) {
	c.t.Helper()
	c.patch(fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":%q}]}}}}`, image))
}

// images returns the images of the namespace's Pods that are not on their way out, sorted.
func (c *cluster) images(namespace string) []string {
	c.t.Helper()
	list, err := c.client.CoreV1().Pods(namespace).List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	images := []string{}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			images = append(images, pod.Spec.Containers[0].Image)
		}
	}
	slices.Sort(images)
	return images
}

func (c *cluster) hasImages(namespace string, want ...string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("Pods with the images %v", want), func() bool { return slices.Equal(c.images(namespace), want) })
}

func (c *cluster) has(event string) {
	c.t.Helper()
	c.eventually("the event "+event, func() bool {
		list, err := c.client.CoreV1().Events("default").List(c.ctx, metav1.ListOptions{})
		return err == nil && slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
			return fmt.Sprintf("%s %s %s", e.Source.Component, e.Reason, e.Message) == event
		})
	})
}

func TestRollout(t *testing.T) {
	c := startCluster(t)
	d := c.deploy("default", 3)
	first := c.setWithImage("v1")
	c.hasImages("default", "v1", "v1", "v1")
	c.has(fmt.Sprintf("deployment-controller ScalingReplicaSet Scaled up replica set %s from 0 to 3", first.Name))
	if hash := first.Labels["pod-template-hash"]; first.Name != "web-"+hash || first.Spec.Selector.MatchLabels["pod-template-hash"] != hash {
		t.Errorf("ReplicaSet %s has labels %v", first.Name, first.Labels)
	}
	if d.Annotations["deployment.kubernetes.io/revision"] != "1" {
		t.Errorf("annotations are %v", d.Annotations)
	}

	c.setImage("v2")
	c.rolledOut("default")
	c.hasImages("default", "v2", "v2", "v2")

	rollbacker, err := polymorphichelpers.RollbackerFor(appsv1.SchemeGroupVersion.WithKind("Deployment").GroupKind(), c.client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rollbacker.Rollback(c.deployment("default"), nil, 0, 0); err != nil {
		t.Fatal(err)
	}
	c.rolledOut("default")
	c.hasImages("default", "v1", "v1", "v1")
	viewer, err := polymorphichelpers.HistoryViewerFor(appsv1.SchemeGroupVersion.WithKind("Deployment").GroupKind(), c.client)
	if err != nil {
		t.Fatal(err)
	}
	c.eventually("the history 2, 3", func() bool {
		history, err := viewer.ViewHistory("default", "web", 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(bytes.Fields([]byte(history))) >= 4 && strings.Contains(history, "\n2 ") && strings.Contains(history, "\n3 ") && !strings.Contains(history, "\n1 ")
	})
	if again := c.setWithImage("v1"); again.Name != first.Name {
		t.Errorf("rolled back to %s, want %s", again.Name, first.Name)
	}
}

func (c *cluster) setWithImage(image string) *appsv1.ReplicaSet {
	c.t.Helper()
	list, err := c.client.AppsV1().ReplicaSets("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range list.Items {
		if list.Items[i].Spec.Template.Spec.Containers[0].Image == image {
			return &list.Items[i]
		}
	}
	c.t.Fatalf("no ReplicaSet has the image %s", image)
	return nil
}

func TestBrokenRolloutKeepsTheOldPods(t *testing.T) {
	c := startCluster(t)
	c.deploy("default", 3)
	c.setImage("broken")
	c.hasImages("default", "broken", "v1", "v1", "v1")
	c.patch(`{"spec":{"paused":true}}`)
	c.eventually("DeploymentPaused", func() bool {
		return slices.ContainsFunc(c.deployment("default").Status.Conditions, func(condition appsv1.DeploymentCondition) bool {
			return condition.Reason == "DeploymentPaused"
		})
	})
	c.setImage("v2")
	c.patch(`{"spec":{"paused":false}}`)
	c.rolledOut("default")
	c.hasImages("default", "v2", "v2", "v2")
}

func TestRecreate(t *testing.T) {
	c := startCluster(t)
	c.deploy("default", 2)
	c.patch(`{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}`)
	c.setImage("v2")
	c.rolledOut("default")
	c.hasImages("default", "v2", "v2")
}

func TestScale(t *testing.T) {
	c := startCluster(t)
	c.deploy("default", 1)
	for _, replicas := range []int{5, 0, 2} {
		c.patch(fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
		c.rolledOut("default")
		c.hasImages("default", slices.Repeat([]string{"v1"}, replicas)...)
	}
}

func TestGarbage(t *testing.T) {
	for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		t.Run(string(policy), func(t *testing.T) {
			c := startCluster(t)
			c.deploy("default", 2)
			if err := c.client.AppsV1().Deployments("default").Delete(c.ctx, "web", metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
				t.Fatal(err)
			}
			c.eventually("the Deployment is gone", func() bool {
				_, err := c.client.AppsV1().Deployments("default").Get(c.ctx, "web", metav1.GetOptions{})
				return apierrors.IsNotFound(err)
			})
			switch policy {
			case metav1.DeletePropagationOrphan:
				if rs := c.setWithImage("v1"); len(rs.OwnerReferences) != 0 {
					t.Errorf("the ReplicaSet is still owned by %v", rs.OwnerReferences)
				}
				c.hasImages("default", "v1", "v1")
			case metav1.DeletePropagationForeground:
				if left := c.images("default"); len(left) != 0 {
					t.Errorf("Pods are left behind: %v", left)
				}
				fallthrough
			default:
				c.hasImages("default")
				c.eventually("no ReplicaSet", func() bool {
					list, err := c.client.AppsV1().ReplicaSets("default").List(c.ctx, metav1.ListOptions{})
					return err == nil && len(list.Items) == 0
				})
			}
		})
	}
}

func TestGarbageOfAnOwnerThatNeverWas(t *testing.T) {
	c := startCluster(t)
	_, err := c.client.CoreV1().ConfigMaps("default").Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name:            "left",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: "never", UID: "0d1f7fb8-0000-4000-8000-000000000000"}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.eventually("it is collected", func() bool {
		_, err := c.client.CoreV1().ConfigMaps("default").Get(c.ctx, "left", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func TestCatchesUpAfterARestart(t *testing.T) {
	c := startWithoutControllers(t)
	stop := c.startControllers()
	c.deploy("default", 2)
	stop()
	if err := c.client.AppsV1().Deployments("default").Delete(c.ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.AppsV1().Deployments("default").Create(c.ctx, newDeployment("next", 1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.startControllers())
	c.eventually("only the next Deployment's Pod", func() bool {
		list, err := c.client.CoreV1().Pods("default").List(c.ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) == 1 && list.Items[0].Labels["app"] == "next"
	})
}

func TestNamespaceDeletion(t *testing.T) {
	c := startCluster(t)
	namespaces := c.client.CoreV1().Namespaces()
	if _, err := namespaces.Create(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("what every namespace has", func() bool {
		_, accountErr := c.client.CoreV1().ServiceAccounts("shop").Get(c.ctx, "default", metav1.GetOptions{})
		_, configMapErr := c.client.CoreV1().ConfigMaps("shop").Get(c.ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return accountErr == nil && configMapErr == nil
	})
	c.deploy("shop", 3)
	held := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	if _, err := c.client.CoreV1().Secrets("shop").Create(c.ctx, held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := namespaces.Delete(c.ctx, "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the finalizer is named", func() bool {
		shop, err := namespaces.Get(c.ctx, "shop", metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(shop.Status.Conditions, func(condition corev1.NamespaceCondition) bool {
			return condition.Message == "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
		})
	})
	if _, err := c.client.CoreV1().Secrets("shop").Patch(c.ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the namespace is gone", func() bool {
		_, err := namespaces.Get(c.ctx, "shop", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if left := c.images("shop"); len(left) != 0 {
		t.Errorf("Pods are left behind: %v", left)
	}
}

func toUnstructured(t testing.TB, d *appsv1.Deployment) *unstructured.Unstructured {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(d)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: fields}
	kinds, _, err := scheme.Scheme.ObjectKinds(d)
	if err != nil {
		t.Fatal(err)
	}
	object.SetGroupVersionKind(kinds[0])
	return object
}
