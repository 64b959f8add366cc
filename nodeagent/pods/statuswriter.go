package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/utils/ptr"
)

// statusWriter writes a Pod's status to the API when it has changed: at once, never two writes at a time, and the newest only. A write
// that fails is repeated until it succeeds or the Pod is gone.
type statusWriter struct {
	worker *worker

	mutex    sync.Mutex
	written  *v1.PodStatus // as the API answered last
	revision uint64        // of written
	wanted   *v1.PodStatus // nil: nothing to write
	idle     chan struct{} // closed when no write is under way; nil: none was ever
}

func newStatusWriter(w *worker) *statusWriter { return &statusWriter{worker: w} }

// latest is the Pod's status as last written, if that is newer than what the informer has; otherwise nil.
func (s *statusWriter) latest(pod *v1.Pod) *v1.PodStatus {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.written == nil || revisionOf(pod) >= s.revision {
		return nil
	}
	return s.written
}

// revisionOf is the object's resource version as a number (KEP-5504: they can be compared), 0 if it is none.
func revisionOf(pod *v1.Pod) uint64 {
	revision, err := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

// publish computes the status and has it written if it differs from what the API has.
func (w *worker) publish(pod *v1.Pod, o *observed, end *outcome) {
	if o.gone || w.deleted {
		return
	}
	s, status := w.status, computeStatus(pod, o, w.loop.NodeIPs, end)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.wanted == nil && equality.Semantic.DeepEqual(pod.Status, status) {
		return
	}
	s.wanted = &status
	if s.idle == nil || isClosed(s.idle) {
		s.idle = make(chan struct{})
		go s.write(w.ctx, pod, s.idle)
	}
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

// write ends, and closes idle, when nothing is wanted any more or ctx is done.
func (s *statusWriter) write(ctx context.Context, pod *v1.Pod, idle chan struct{}) {
	var again retry
	base := pod.Status
	for {
		s.mutex.Lock()
		wanted := s.wanted
		if s.written != nil && s.revision > revisionOf(pod) {
			base = *s.written
		}
		if wanted == nil || ctx.Err() != nil {
			close(idle)
			s.mutex.Unlock()
			return
		}
		s.mutex.Unlock()
		result, err := s.patch(ctx, pod, base, *wanted)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			again.failed(time.Now(), err)
			s.worker.log.Error("write pod status", "error", err, "again", min(again.delay, retryUnreachable))
			select {
			case <-ctx.Done():
			case <-time.After(min(again.delay, retryUnreachable)):
			}
			continue
		}
		again.reset()
		s.mutex.Lock()
		if err == nil {
			s.written, s.revision = &result.Status, revisionOf(result)
		}
		if s.wanted == wanted { // a Pod that is gone, or another one of its name, has no status to write
			s.wanted = nil
		}
		s.mutex.Unlock()
		s.worker.nudge() // what is wanted now is compared with what was written
	}
}

func (s *statusWriter) patch(ctx context.Context, pod *v1.Pod, from, to v1.PodStatus) (*v1.Pod, error) {
	before, err := json.Marshal(v1.Pod{Status: from})
	if err != nil {
		return nil, fmt.Errorf("encode pod status: %w", err)
	}
	after, err := json.Marshal(v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: to})
	if err != nil {
		return nil, fmt.Errorf("encode pod status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare pod statuses: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return s.worker.loop.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

// flush waits until nothing is being written.
func (s *statusWriter) flush(ctx context.Context) error {
	s.mutex.Lock()
	idle := s.idle
	s.mutex.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deleteObject ends the graceful deletion of the API object, once its last status is written.
func (w *worker) deleteObject(ctx context.Context, pod *v1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := w.status.flush(ctx); err != nil {
		return fmt.Errorf("write last status: %w", err)
	}
	err := w.loop.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
