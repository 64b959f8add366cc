package selection

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TriggerTimes remembers when the Service and its Pods last changed, so that what is written can say how long its oldest
// change has been waiting (annotation endpoints.kubernetes.io/last-change-trigger-time). It may be used concurrently.
type TriggerTimes struct {
	mu       sync.Mutex
	services map[string]*triggerState
}

type triggerState struct {
	created time.Time
	pods    map[types.UID]time.Time
}

// NewTriggerTimes returns an empty memory.
func NewTriggerTimes() *TriggerTimes { return &TriggerTimes{services: map[string]*triggerState{}} }

// Observe notes the current state of a Service and its Pods, and returns the earliest change since the last call; zero if there
// was none. The first call for a Service returns when it was made, however long before that its Pods were ready.
func (t *TriggerTimes) Observe(service *corev1.Service, pods []*corev1.Pod) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := service.Namespace + "/" + service.Name
	before, known := t.services[key]
	if !known {
		before = &triggerState{}
	}
	now := &triggerState{created: service.CreationTimestamp.Time, pods: make(map[types.UID]time.Time, len(pods))}
	var earliest time.Time
	note := func(changed, seen time.Time) {
		if changed.After(seen) && (earliest.IsZero() || changed.Before(earliest)) {
			earliest = changed
		}
	}
	for _, pod := range pods {
		if condition := readyCondition(pod); condition != nil {
			now.pods[pod.UID] = condition.LastTransitionTime.Time
			note(condition.LastTransitionTime.Time, before.pods[pod.UID])
		}
	}
	t.services[key] = now
	if !known {
		return now.created
	}
	note(now.created, before.created) // of a new Service of the same name
	return earliest
}

// Forget drops what is known of a Service, by its "namespace/name" key.
func (t *TriggerTimes) Forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.services, key)
}
