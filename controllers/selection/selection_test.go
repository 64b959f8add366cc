package selection

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTriggerTimes(t *testing.T) {
	created, ready := time.Unix(10, 0), time.Unix(20, 0)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", CreationTimestamp: metav1.NewTime(created)}}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "a"},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, LastTransitionTime: metav1.NewTime(ready)}}},
	}
	times := NewTriggerTimes()
	for i, step := range []struct {
		pods []*corev1.Pod
		want time.Time
	}{
		{nil, created}, {nil, time.Time{}}, {[]*corev1.Pod{pod}, ready}, {[]*corev1.Pod{pod}, time.Time{}},
	} {
		if got := times.Observe(service, step.pods); !got.Equal(step.want) {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
	times.Forget("default/web")
	pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(time.Unix(5, 0))
	if got := times.Observe(service, []*corev1.Pod{pod}); !got.Equal(created) {
		t.Errorf("after Forget, with a Pod that was ready before: %v", got)
	}
}

func TestSelects(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web", "tier": "front"}}}
	for name, test := range map[string]struct {
		selector map[string]string
		want     bool
	}{
		"no selector":    {nil, false},
		"empty selector": {map[string]string{}, true},
		"matching":       {map[string]string{"app": "web"}, true},
		"other value":    {map[string]string{"app": "api"}, false},
		"missing label":  {map[string]string{"app": "web", "zone": "a"}, false},
	} {
		if got := Selects(&corev1.Service{Spec: corev1.ServiceSpec{Selector: test.selector}}, pod); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
