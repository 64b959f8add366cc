package pods

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

func TestStatusSaid(t *testing.T) {
	pod := &v1.Pod{Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{
		{Name: "web", ContainerID: containerScheme + "first", Ready: true},
	}}}
	if !statusSaid(pod, runtime.Container{ID: "first", Name: "web"}).Ready {
		t.Error("a run that was ready is not")
	}
	if statusSaid(pod, runtime.Container{ID: "second", Name: "web"}).Ready {
		t.Error("a new run is as ready as the one before")
	}
}
