package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// BenchmarkPodToSlice measures, among 1,000 Services with five Pods each, from the API server's answer to a change of a Pod's
// readiness to the watch event of the changed EndpointSlice, and prints the median and the 99th percentile: the controllers'
// part of the way from a Pod to the rule.
func BenchmarkPodToSlice(b *testing.B) {
	const services, podsEach = 1000, 5
	c := startCluster(b)
	c.createNode("node-1")
	node, err := c.client.CoreV1().Nodes().Get(c.ctx, "node-1", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range services {
		if i%100 == 0 {
			c.reportReady(node) // it must not fall silent meanwhile
		}
		name := fmt.Sprintf("web-%d", i)
		c.createService(name, corev1.ServiceSpec{
			Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		})
		for j := range podsEach {
			c.createServingPod(fmt.Sprintf("%s-%d", name, j), name)
		}
	}
	c.eventually("all slices are there", func() bool {
		list, err := c.client.DiscoveryV1().EndpointSlices("default").List(c.ctx, metav1.ListOptions{ResourceVersion: "0"})
		return err == nil && !slices.ContainsFunc(list.Items, func(slice discoveryv1.EndpointSlice) bool {
			return slice.Labels[discoveryv1.LabelManagedBy] == "endpointslice-controller.k8s.io" && len(slice.Endpoints) < podsEach
		}) && len(list.Items) > services
	})
	watch, err := c.client.DiscoveryV1().EndpointSlices("default").Watch(c.ctx, metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer watch.Stop()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprintf("web-%d", i*37%services)
		ready := i/services%2 == 1
		c.setReady(name+"-0", ready)
		answered := time.Now()
		for event := range watch.ResultChan() {
			slice, ok := event.Object.(*discoveryv1.EndpointSlice)
			if ok && slice.Labels[discoveryv1.LabelServiceName] == name && slices.ContainsFunc(slice.Endpoints, func(endpoint discoveryv1.Endpoint) bool {
				return endpoint.TargetRef.Name == name+"-0" && *endpoint.Conditions.Ready == ready
			}) {
				break
			}
		}
		took = append(took, time.Since(answered))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
}

// createServingPod makes a Pod on node-1; the agent says at once that it is ready.
func (c *cluster) createServingPod(name, app string) {
	c.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "web", Image: "web"}}},
	}
	if _, err := c.client.CoreV1().Pods("default").Create(c.ctx, pod, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) setReady(pod string, ready bool) {
	c.t.Helper()
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, status)
	if _, err := c.client.CoreV1().Pods("default").Patch(c.ctx, pod, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		c.t.Fatal(err)
	}
}
