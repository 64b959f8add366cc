package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Queue calls a sync function for the keys that are added to it. It may be used concurrently.
type Queue[K comparable] struct {
	name string
	sync func(ctx context.Context, key K) error
	keys workqueue.TypedRateLimitingInterface[K]
}

// NewQueue makes a queue for the named controller. Nothing is called before Run.
func NewQueue[K comparable](name string, sync func(ctx context.Context, key K) error) *Queue[K] {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
	return &Queue[K]{name: name, sync: sync, keys: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// Add asks for a sync of key as soon as a worker is free.
func (q *Queue[K]) Add(key K) { q.keys.Add(key) }

// AddAfter asks for a sync of key after the given time.
func (q *Queue[K]) AddAfter(key K, after time.Duration) { q.keys.AddAfter(key, after) }

// Run works with the given number of workers until ctx is done and every running sync has returned.
func (q *Queue[K]) Run(ctx context.Context, workers int) {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for q.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	q.keys.ShutDown()
	running.Wait()
}

// next works on one key; it returns false once the queue is shut down.
func (q *Queue[K]) next(ctx context.Context) bool {
	key, shutdown := q.keys.Get()
	if shutdown {
		return false
	}
	defer q.keys.Done(key)
	err := q.sync(ctx, key)
	if err == nil || ctx.Err() != nil {
		q.keys.Forget(key)
		return true
	}
	// A conflict or a name just taken means that the cache is behind what this controller did itself: not worth a line.
	level := slog.LevelWarn
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		level = slog.LevelDebug
	}
	slog.Log(ctx, level, "sync is tried again", "controller", q.name, "key", key, "error", err)
	q.keys.AddRateLimited(key)
	return true
}

// ObjectKey returns the "namespace/name" key of an object as informers hand it out, the last known state of a missed
// deletion included.
func ObjectKey(obj any) string {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err != nil {
		slog.Error("object without metadata in an informer", "error", err)
	}
	return key
}

// Deleted returns the object of a delete notification, unwrapped if the deletion itself was missed; ok is false if it is
// of another type.
func Deleted[T any](obj any) (object T, ok bool) {
	if unknown, missed := obj.(cache.DeletedFinalStateUnknown); missed {
		obj = unknown.Obj
	}
	object, ok = obj.(T)
	return object, ok
}
