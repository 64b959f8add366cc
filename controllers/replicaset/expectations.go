package replicaset

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// expectationTimeout is how long a ReplicaSet waits for its cache to show what it did before it acts again regardless.
const expectationTimeout = 5 * time.Minute

// expectations remembers, for each ReplicaSet key, the Pods that it created or deleted and that the cache has not shown
// yet. It may be used concurrently.
type expectations struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	byKey map[string]*expected
}

type expected struct {
	creations int
	deletions map[types.UID]struct{}
	since     time.Time
}

func newExpectations(clock clock.PassiveClock) *expectations {
	return &expectations{clock: clock, byKey: make(map[string]*expected)}
}

// satisfied says whether all that key waits for has been seen, or has been waited for too long.
func (e *expectations) satisfied(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	exp, present := e.byKey[key]
	if !present {
		return true
	}
	done := exp.creations <= 0 && len(exp.deletions) == 0
	if done || e.clock.Since(exp.since) > expectationTimeout {
		delete(e.byKey, key)
		return true
	}
	return false
}

// expectCreations is called before the Pods are created: their watch events may come first.
func (e *expectations) expectCreations(key string, count int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byKey[key] = &expected{creations: count, since: e.clock.Now()}
}

// expectDeletions is called before the Pods are deleted.
func (e *expectations) expectDeletions(key string, pods []types.UID) {
	deletions := make(map[types.UID]struct{}, len(pods))
	for _, uid := range pods {
		deletions[uid] = struct{}{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byKey[key] = &expected{deletions: deletions, since: e.clock.Now()}
}

// created notes one Pod that appeared, or that will never appear because creating it was refused.
func (e *expectations) created(key string) { e.createdMany(key, 1) }

func (e *expectations) createdMany(key string, count int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if exp, present := e.byKey[key]; present {
		exp.creations -= count
	}
}

// deleted notes a Pod that is terminating or gone, or that will not go because deleting it was refused.
func (e *expectations) deleted(key string, pod types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if exp, present := e.byKey[key]; present {
		delete(exp.deletions, pod)
	}
}

// forget drops what a ReplicaSet that no longer exists waited for.
func (e *expectations) forget(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byKey, key)
}
