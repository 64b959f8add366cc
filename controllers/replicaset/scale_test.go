package replicaset

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var now = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// pod is a ready, running Pod an hour old on node-1, changed by the options.
func pod(name string, options ...func(*corev1.Pod)) *corev1.Pod {
	hourAgo := metav1.NewTime(now.Add(-time.Hour))
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: hourAgo},
		Spec:       corev1.PodSpec{NodeName: "node-1"},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: hourAgo}},
		},
	}
	for _, option := range options {
		option(made)
	}
	return made
}

func onNode(name string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = name } }

func unready(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }

func pending(p *corev1.Pod) {
	unready(p)
	p.Status.Phase = corev1.PodPending
}

func costing(cost string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: cost} }
}

func readyFor(age time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-age)) }
}

func aged(age time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(now.Add(-age)) }
}

func restarted(times int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: times}} }
}

func TestPodsToDelete(t *testing.T) {
	cases := []struct {
		name  string
		first *corev1.Pod
		other *corev1.Pod
	}{
		{"not scheduled", pod("b", pending, onNode("")), pod("a", pending)},
		{"pending", pod("b", pending), pod("a", unready)},
		{"not ready", pod("b", unready), pod("a")},
		{"cheaper", pod("b", costing("-1")), pod("a")},
		{"a cost that is no number counts as 0", pod("b", costing("-1")), pod("a", costing("dear"))},
		{"ready for less time", pod("b", readyFor(time.Minute)), pod("a")},
		{"ready about as long, by UID", pod("a", readyFor(60*time.Minute)), pod("b", readyFor(59*time.Minute))},
		{"restarted more often", pod("b", restarted(3)), pod("a", restarted(2))},
		{"younger", pod("b", aged(time.Minute)), pod("a")},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			both := []*corev1.Pod{tc.other, tc.first}
			for range 2 {
				if got := podsToDelete(both, both, 1, now); len(got) != 1 || got[0] != tc.first {
					t.Errorf("%s goes first, want %s", got[0].Name, tc.first.Name)
				}
				slices.Reverse(both)
			}
		})
	}
}

func TestPodsToDeleteWhereTheyCrowd(t *testing.T) {
	a, b := pod("a", onNode("node-1")), pod("b", onNode("node-2"))
	related := []*corev1.Pod{a, b, pod("old", onNode("node-2"))}
	if got := podsToDelete([]*corev1.Pod{a, b}, related, 1, now); got[0] != b {
		t.Errorf("%s goes first, want b: node-2 holds two of the Deployment's Pods", got[0].Name)
	}
}

func TestMissing(t *testing.T) {
	for _, tc := range []struct {
		active   int
		replicas int32
		want     int
	}{{0, 3, 3}, {3, 3, 0}, {5, 3, -2}, {0, 2000, burst}, {2000, 0, -burst}} {
		if got := missing(tc.active, tc.replicas); got != tc.want {
			t.Errorf("missing(%d, %d) = %d, want %d", tc.active, tc.replicas, got, tc.want)
		}
	}
}
