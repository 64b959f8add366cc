package replicaset

import (
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func newSet(replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "rs", Generation: 2},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: ptr.To(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}},
		},
	}
}

func TestObservedStatus(t *testing.T) {
	labelled := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }
	rs := newSet(4)
	rs.Spec.MinReadySeconds = 30
	active := []*corev1.Pod{
		pod("long ready", labelled),
		pod("just ready", labelled, readyFor(10*time.Second)),
		pod("not ready", labelled, unready),
		pod("other label"),
	}
	status, recheck := observedStatus(rs, active, []*corev1.Pod{pod("going")}, nil, now)
	want := appsv1.ReplicaSetStatus{
		Replicas: 4, FullyLabeledReplicas: 3, ReadyReplicas: 3, AvailableReplicas: 2,
		TerminatingReplicas: ptr.To[int32](1), ObservedGeneration: 2,
	}
	if status.String() != want.String() {
		t.Errorf("got %v, want %v", status, want)
	}
	if recheck < 20*time.Second || recheck > 21*time.Second {
		t.Errorf("looks again after %v, want 20 s: then the Pod has been ready for 30 s", recheck)
	}
}

func TestReplicaFailure(t *testing.T) {
	rs := newSet(1)
	refused := errors.New("no room")
	status, _ := observedStatus(rs, nil, nil, refused, now)
	if len(status.Conditions) != 1 || status.Conditions[0].Reason != "FailedCreate" || status.Conditions[0].Message != "no room" {
		t.Fatalf("got %v, want ReplicaFailure for FailedCreate", status.Conditions)
	}
	rs.Status = status
	if status, _ = observedStatus(rs, nil, nil, nil, now); len(status.Conditions) != 0 {
		t.Errorf("got %v once it worked, want none", status.Conditions)
	}
	rs.Spec.Replicas = ptr.To[int32](0)
	rs.Status.Conditions = nil
	if status, _ = observedStatus(rs, []*corev1.Pod{pod("a")}, nil, refused, now); status.Conditions[0].Reason != "FailedDelete" {
		t.Errorf("got %v, want FailedDelete", status.Conditions)
	}
}
