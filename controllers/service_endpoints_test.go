//lint:file-ignore SA1019 v1 Endpoints are deprecated, and what is tested

package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// endpoints shows a Service's Endpoints: "2 ready, 1 not, port 8080".
func (c *cluster) endpoints(name string) string {
	endpoints, err := c.client.CoreV1().Endpoints("default").Get(c.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	var shown []string
	for _, subset := range endpoints.Subsets {
		shown = append(shown, fmt.Sprintf("%d ready, %d not, port %d", len(subset.Addresses), len(subset.NotReadyAddresses), subset.Ports[0].Port))
	}
	return strings.Join(shown, "; ")
}

// slices shows a Service's EndpointSlices in the same way.
func (c *cluster) slices(name string) string {
	list, err := c.client.DiscoveryV1().EndpointSlices("default").List(c.ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		return err.Error()
	}
	var shown []string
	for _, slice := range list.Items {
		ready := 0
		for _, endpoint := range slice.Endpoints {
			if *endpoint.Conditions.Ready {
				ready++
			}
		}
		port := int32(0)
		if len(slice.Ports) > 0 {
			port = *slice.Ports[0].Port
		}
		shown = append(shown, fmt.Sprintf("%d ready, %d not, port %d", ready, len(slice.Endpoints)-ready, port))
	}
	slices.Sort(shown)
	return strings.Join(shown, "; ")
}

func (c *cluster) showsEndpoints(service, endpoints, slices string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("Endpoints of %s are %q", service, endpoints), func() bool { return c.endpoints(service) == endpoints })
	c.eventually(fmt.Sprintf("EndpointSlices of %s are %q", service, slices), func() bool { return c.slices(service) == slices })
}

func (c *cluster) createService(name string, spec corev1.ServiceSpec) {
	c.t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	if _, err := c.client.CoreV1().Services("default").Create(c.ctx, service, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func TestEndpointsFollowPods(t *testing.T) {
	c := startCluster(t)
	c.createNode("node-1")
	web := newDeployment("web", 2)
	web.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	if _, err := c.client.AppsV1().Deployments("default").Create(c.ctx, web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	selector := map[string]string{"app": "web"}
	ports := []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}
	c.createService("web", corev1.ServiceSpec{Selector: selector, Ports: ports})
	c.createService("early", corev1.ServiceSpec{Selector: selector, Ports: ports, ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true})
	c.rolledOut("default")
	c.showsEndpoints("web", "2 ready, 0 not, port 8080", "2 ready, 0 not, port 8080")

	c.patch(`{"spec":{"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}`)
	c.setImage("broken")
	c.showsEndpoints("web", "2 ready, 1 not, port 8080", "2 ready, 1 not, port 8080")
	c.showsEndpoints("early", "3 ready, 0 not, port 8080", "3 ready, 0 not, port 8080")

	c.patch(`{"spec":{"replicas":0}}`)
	c.showsEndpoints("web", "", "0 ready, 0 not, port 0")

	if err := c.client.CoreV1().Services("default").Delete(c.ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.showsEndpoints("web", `endpoints "web" not found`, "")
}

func TestManualEndpointsAreMirrored(t *testing.T) {
	c := startCluster(t)
	c.createService("outside", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	endpoints := c.client.CoreV1().Endpoints("default")
	manual := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: "outside"},
		Subsets: []corev1.EndpointSubset{{
			Addresses:         []corev1.EndpointAddress{{IP: "192.168.1.10"}},
			NotReadyAddresses: []corev1.EndpointAddress{{IP: "192.168.1.11"}},
			Ports:             []corev1.EndpointPort{{Port: 8000}},
		}},
	}
	if _, err := endpoints.Create(c.ctx, manual, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.showsEndpoints("outside", "1 ready, 1 not, port 8000", "1 ready, 1 not, port 8000")
	more := []byte(`[{"op":"add","path":"/subsets/0/addresses/-","value":{"ip":"192.168.1.12"}}]`)
	if _, err := endpoints.Patch(c.ctx, "outside", types.JSONPatchType, more, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.showsEndpoints("outside", "2 ready, 1 not, port 8000", "2 ready, 1 not, port 8000")
	if err := endpoints.Delete(c.ctx, "outside", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.showsEndpoints("outside", `endpoints "outside" not found`, "")
}
