package selection

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func TestIndex(t *testing.T) {
	meta := func(namespace, name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
	}
	front := map[string]string{"app": "web", "tier": "front"}
	objects := []runtime.Object{
		&corev1.Pod{ObjectMeta: meta("default", "front", front)},
		&corev1.Pod{ObjectMeta: meta("default", "back", map[string]string{"app": "web", "tier": "back"})},
		&corev1.Pod{ObjectMeta: meta("default", "bare", nil)},
		&corev1.Pod{ObjectMeta: meta("other", "front", front)},
	}
	for name, selector := range map[string]map[string]string{
		"web": {"app": "web"}, "front": front, "all": {}, "none": nil, "nobody": {"app": "web", "zone": "a"},
	} {
		objects = append(objects, &corev1.Service{ObjectMeta: meta("default", name, nil), Spec: corev1.ServiceSpec{Selector: selector}})
	}
	factory := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	index, err := NewIndex(factory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewIndex(factory); err != nil {
		t.Fatalf("a second one: %v", err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	for service, want := range map[string]string{
		"web": "[back front]", "front": "[front]", "all": "[back bare front]", "none": "[]", "nobody": "[]",
	} {
		obj, _, _ := index.services.GetByKey("default/" + service)
		pods, err := index.PodsOf(obj.(*corev1.Service))
		names := []string{}
		for _, pod := range pods {
			names = append(names, pod.Name)
		}
		slices.Sort(names)
		if got := fmt.Sprint(names); got != want || err != nil {
			t.Errorf("Pods of Service %s: %s, %v, want %s", service, got, err, want)
		}
	}
	for pod, want := range map[string]string{
		"default/front": "[default/all default/front default/web]", "default/back": "[default/all default/web]",
		"default/bare": "[default/all]", "other/front": "[]",
	} {
		obj, _, _ := index.pods.GetByKey(pod)
		services, err := index.ServicesOf(obj.(*corev1.Pod))
		if got := fmt.Sprint(services); got != want || err != nil {
			t.Errorf("Services of Pod %s: %s, %v, want %s", pod, got, err, want)
		}
	}
}
