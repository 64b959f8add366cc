package namespace

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func show(status corev1.NamespaceStatus) string {
	var lines []string
	for _, c := range status.Conditions {
		lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(lines, "\n")
}

func TestConditions(t *testing.T) {
	left := remains{
		objects:    map[schema.GroupResource]int{{Resource: "pods"}: 2, {Group: "apps", Resource: "deployments"}: 1},
		finalizers: map[string]int{"example.com/hold": 1},
		failures:   []error{errors.New("delete secrets: no")},
	}
	first, later := metav1.NewTime(time.Unix(10, 0)), metav1.NewTime(time.Unix(20, 0))
	var status corev1.NamespaceStatus
	if !setConditions(&status, left, first) {
		t.Error("nothing changed")
	}
	want := strings.Join([]string{
		"NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered",
		"NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed",
		"NamespaceDeletionContentFailure=True ContentDeletionFailed: Failed to delete all resource types, 1 remaining: delete secrets: no",
		"NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances",
		"NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
	}, "\n")
	if got := show(status); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if setConditions(&status, left, later) {
		t.Error("the same remains change something")
	}
	if !setConditions(&status, remains{}, later) {
		t.Error("the end of it changes nothing")
	}
	if got := status.Conditions[3]; got.Status != corev1.ConditionFalse || !got.LastTransitionTime.Equal(&later) {
		t.Errorf("in the end NamespaceContentRemaining is %v", got)
	}
	if got := status.Conditions[0]; !got.LastTransitionTime.Equal(&first) {
		t.Errorf("a condition that stays has a new transition time: %v", got)
	}
}
