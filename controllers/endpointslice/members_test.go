package endpointslice

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func testService(change ...func(*corev1.Service)) *corev1.Service {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "web", Labels: map[string]string{"a": "b"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.7", Selector: map[string]string{"app": "web"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("http")}},
		},
	}
	for _, f := range change {
		f(service)
	}
	return service
}

func testPod(name, ip string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{
			PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func unready(pod *corev1.Pod)     { pod.Status.Conditions = nil }
func terminating(pod *corev1.Pod) { pod.DeletionTimestamp = ptr.To(metav1.Now()) }
func publishing(service *corev1.Service) {
	service.Spec.PublishNotReadyAddresses = true
}

func TestMembersOf(t *testing.T) {
	tests := map[string]struct {
		service *corev1.Service
		pod     *corev1.Pod
		want    string
	}{
		"ready":             {testService(), testPod("a", "10.244.0.2"), "10.244.0.2 [8080] ready serving on node-1"},
		"not ready":         {testService(), testPod("a", "10.244.0.2", unready), "10.244.0.2 [8080] on node-1"},
		"published":         {testService(publishing), testPod("a", "10.244.0.2", unready), "10.244.0.2 [8080] ready on node-1"},
		"terminating":       {testService(), testPod("a", "10.244.0.2", terminating), "10.244.0.2 [8080] serving terminating on node-1"},
		"without address":   {testService(), testPod("a", "", func(pod *corev1.Pod) { pod.Status.PodIPs = nil }), ""},
		"finished":          {testService(), testPod("a", "10.244.0.2", func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded }), ""},
		"of another family": {testService(), testPod("a", "fd00::1"), ""},
		"on a lost node":    {testService(), testPod("a", "10.244.0.2", func(pod *corev1.Pod) { pod.Spec.NodeName = "gone" }), ""},
		"no such port":      {testService(), testPod("a", "10.244.0.2", func(pod *corev1.Pod) { pod.Spec.Containers[0].Ports = nil }), "10.244.0.2 [] ready serving on node-1"},
		"with a hostname":   {testService(), testPod("a", "10.244.0.2", func(pod *corev1.Pod) { pod.Spec.Hostname, pod.Spec.Subdomain = "db", "web" }), "10.244.0.2 [8080] ready serving on node-1 as db"},
	}
	nodes := map[string]*corev1.Node{"node-1": {}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, member := range membersOf(test.service, []*corev1.Pod{test.pod}, nodes) {
				var ports []int32
				for _, port := range member.Ports {
					ports = append(ports, *port.Port)
				}
				line := fmt.Sprint(member.Endpoint.Addresses[0], " ", ports)
				if *member.Endpoint.Conditions.Ready {
					line += " ready"
				}
				if *member.Endpoint.Conditions.Serving {
					line += " serving"
				}
				if *member.Endpoint.Conditions.Terminating {
					line += " terminating"
				}
				line += " on " + *member.Endpoint.NodeName
				if member.Endpoint.Hostname != nil {
					line += " as " + *member.Endpoint.Hostname
				}
				lines = append(lines, line)
			}
			if got := strings.Join(lines, "\n"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestOwnerLabels(t *testing.T) {
	want := "map[a:b endpointslice.kubernetes.io/managed-by:endpointslice-controller.k8s.io kubernetes.io/service-name:web]"
	if got := fmt.Sprint(ownerOf(testService()).Labels); got != want {
		t.Errorf("got %s", got)
	}
	headless := testService(func(service *corev1.Service) { service.Spec.ClusterIP = corev1.ClusterIPNone })
	if _, marked := ownerOf(headless).Labels[corev1.IsHeadlessService]; !marked {
		t.Error("a headless Service's slices are not marked")
	}
}

func TestHints(t *testing.T) {
	nodes := map[string]*corev1.Node{
		"node-1": {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelTopologyZone: "a"}}}, "node-2": {},
	}
	prefer := func(distribution string) func(*corev1.Service) {
		return func(service *corev1.Service) { service.Spec.TrafficDistribution = &distribution }
	}
	aware := func(service *corev1.Service) {
		service.Annotations = map[string]string{corev1.AnnotationTopologyMode: "Auto"}
	}
	elsewhere := func(pod *corev1.Pod) { pod.Spec.NodeName = "node-2" }
	for name, test := range map[string]struct {
		service *corev1.Service
		pod     *corev1.Pod
		want    string
	}{
		"no preference":            {testService(), testPod("a", "10.244.0.2"), "nil"},
		"same zone":                {testService(prefer("PreferSameZone")), testPod("a", "10.244.0.2"), "[{a}] []"},
		"close":                    {testService(prefer("PreferClose")), testPod("a", "10.244.0.2"), "[{a}] []"},
		"same node":                {testService(prefer("PreferSameNode")), testPod("a", "10.244.0.2"), "[{a}] [{node-1}]"},
		"same node without a zone": {testService(prefer("PreferSameNode")), testPod("a", "10.244.0.2", elsewhere), "[] [{node-2}]"},
		"same zone without a zone": {testService(prefer("PreferSameZone")), testPod("a", "10.244.0.2", elsewhere), "nil"},
		"not ready":                {testService(prefer("PreferSameZone")), testPod("a", "10.244.0.2", unready), "nil"},
		"not ready, but published": {testService(prefer("PreferSameZone"), publishing), testPod("a", "10.244.0.2", unready), "[{a}] []"},
		"the older annotation":     {testService(prefer("PreferSameZone"), aware), testPod("a", "10.244.0.2"), "nil"},
	} {
		got := "nil"
		if hints := membersOf(test.service, []*corev1.Pod{test.pod}, nodes)[0].Endpoint.Hints; hints != nil {
			got = fmt.Sprint(hints.ForZones, " ", hints.ForNodes)
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
