package controllers

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// BenchmarkDeploymentToPod measures from the creation of a Deployment to the watch event of its Pod: what the controllers
// and four writes to the API server take of the time from `kubectl apply` to Ready.
func BenchmarkDeploymentToPod(b *testing.B) {
	c := startCluster(b)
	pods, err := c.client.CoreV1().Pods("default").Watch(c.ctx, metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer pods.Stop()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprintf("web-%d", i)
		if _, err := c.client.AppsV1().Deployments("default").Create(c.ctx, newDeployment(name, 1), metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		awaitPod(pods, watch.Added, name)
	}
}

// BenchmarkDeletionToNoPod measures from the deletion of a Deployment, in the background as kubectl does it, to the watch
// event of the deletion of its Pod, whose agent takes no time.
func BenchmarkDeletionToNoPod(b *testing.B) {
	c := startCluster(b)
	pods, err := c.client.CoreV1().Pods("default").Watch(c.ctx, metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer pods.Stop()
	for range b.N {
		b.StopTimer()
		c.deploy("default", 1)
		b.StartTimer()
		policy := metav1.DeletePropagationBackground
		if err := c.client.AppsV1().Deployments("default").Delete(c.ctx, "web", metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			b.Fatal(err)
		}
		awaitPod(pods, watch.Deleted, "web")
	}
}

func awaitPod(pods watch.Interface, change watch.EventType, app string) {
	for event := range pods.ResultChan() {
		if pod, ok := event.Object.(*corev1.Pod); ok && event.Type == change && pod.Labels["app"] == app {
			return
		}
	}
}
