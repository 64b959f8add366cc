//lint:file-ignore SA1019 Endpoints are deprecated, and served: they are what this package is about.

package endpoint

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func testService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: []corev1.ServicePort{
			{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("http")},
		}},
	}
}

func testPod(name, ip string, port int32, ready bool) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: port, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}},
	}
	if ready {
		pod.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	return pod
}

func text(subsets []corev1.EndpointSubset) string {
	var words []string
	for _, subset := range subsets {
		var parts []string
		for _, address := range subset.Addresses {
			parts = append(parts, address.IP)
		}
		for _, address := range subset.NotReadyAddresses {
			parts = append(parts, "!"+address.IP)
		}
		for _, port := range subset.Ports {
			parts = append(parts, fmt.Sprint(port.Port))
		}
		words = append(words, strings.Join(parts, " "))
	}
	return strings.Join(words, "; ")
}

func TestSubsetsOf(t *testing.T) {
	going := testPod("d", "10.244.0.5", 8080, true)
	going.DeletionTimestamp = ptr.To(metav1.Now())
	pods := []*corev1.Pod{
		testPod("a", "10.244.0.10", 8080, true), testPod("b", "10.244.0.9", 8080, true),
		testPod("c", "10.244.0.3", 8080, false), testPod("e", "10.244.0.4", 9090, true), going,
	}
	portless := testService()
	portless.Spec.Ports = nil
	headless := portless.DeepCopy()
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	publishing := testService()
	publishing.Spec.PublishNotReadyAddresses = true
	for name, test := range map[string]struct {
		service *corev1.Service
		want    string
	}{
		"by port and readiness":      {testService(), "10.244.0.9 10.244.0.10 !10.244.0.3 8080; 10.244.0.4 9090"},
		"all are published":          {publishing, "10.244.0.3 10.244.0.5 10.244.0.9 10.244.0.10 8080; 10.244.0.4 9090"},
		"no ports":                   {portless, ""},
		"headless, and without port": {headless, "10.244.0.4 10.244.0.9 10.244.0.10 !10.244.0.3"},
	} {
		if got := text(subsetsOf(test.service, pods)); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func TestNothingIsWrittenTwice(t *testing.T) {
	pods := []*corev1.Pod{testPod("a", "10.244.0.10", 8080, true)}
	written := wantedEndpoints(testService(), pods, nil, time.Unix(0, 0))
	if written.Labels[managedByLabel] != managedBy || written.Annotations[corev1.EndpointsLastChangeTriggerTime] == "" {
		t.Errorf("labels %v, annotations %v", written.Labels, written.Annotations)
	}
	if !upToDate(written, wantedEndpoints(testService(), pods, written, time.Time{})) {
		t.Error("written again though nothing changed")
	}
	pods[0].Status.Conditions = nil
	if upToDate(written, wantedEndpoints(testService(), pods, written, time.Time{})) {
		t.Error("a Pod that is not ready any more changes nothing")
	}
}

func TestTruncate(t *testing.T) {
	addresses := func(count int) []corev1.EndpointAddress { return make([]corev1.EndpointAddress, count) }
	for name, test := range map[string]struct{ have, want [2][2]int }{ // ready and not, of two subsets
		"as many as fit":        {[2][2]int{{600, 0}, {300, 100}}, [2][2]int{{600, 0}, {300, 100}}},
		"ready before others":   {[2][2]int{{0, 800}, {800, 0}}, [2][2]int{{0, 200}, {800, 0}}},
		"shares of the others":  {[2][2]int{{500, 300}, {300, 100}}, [2][2]int{{500, 150}, {300, 50}}},
		"shares of the ready":   {[2][2]int{{1500, 10}, {500, 10}}, [2][2]int{{750, 0}, {250, 0}}},
		"rounded up, less last": {[2][2]int{{700, 0}, {701, 0}}, [2][2]int{{500, 0}, {500, 0}}},
	} {
		subsets := make([]corev1.EndpointSubset, 2)
		for i := range subsets {
			subsets[i] = corev1.EndpointSubset{Addresses: addresses(test.have[i][0]), NotReadyAddresses: addresses(test.have[i][1])}
		}
		cut := truncate(subsets)
		var got [2][2]int
		for i := range subsets {
			got[i] = [2]int{len(subsets[i].Addresses), len(subsets[i].NotReadyAddresses)}
		}
		if got != test.want || cut != (test.have != test.want) {
			t.Errorf("%s: kept %v, want %v; cut %t", name, got, test.want, cut)
		}
	}
}
