package podgc

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestJudge(t *testing.T) {
	pending, bound := &corev1.Pod{}, &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node-1"}}
	deleted := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: ptr.To(metav1.Now())}}
	for name, test := range map[string]struct {
		pod        *corev1.Pod
		nodeExists bool
		want       verdict
	}{
		"pending":             {pending, false, keep},
		"pending and deleted": {deleted, false, unwatched},
		"bound":               {bound, true, keep},
		"bound to nothing":    {bound, false, orphaned},
	} {
		if got := judge(test.pod, test.nodeExists); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

func TestSurplusIsTheOldest(t *testing.T) {
	var pods []*corev1.Pod
	for i, name := range []string{"new", "older", "oldest"} {
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(-i), 0))},
			Status:     corev1.PodStatus{Phase: corev1.PodSucceeded},
		})
	}
	pods = append(pods, &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}})
	if got := surplus(pods, 2); len(got) != 1 || got[0].Name != "oldest" {
		t.Errorf("got %v", got)
	}
	if got := surplus(pods, 3); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
