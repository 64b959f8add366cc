package slicing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

const (
	// ByService is the index of EndpointSlices by the "namespace/name" key of their Service.
	ByService = "slices-of-service"
	// forgetAfter bounds how long an own write is believed that the informer never shows, because somebody deleted the
	// slice before the informer saw it.
	forgetAfter = 30 * time.Second
)

// Slices are the EndpointSlices that one controller manages. It may be used concurrently.
type Slices struct {
	client    kubernetes.Interface
	managedBy string
	index     cache.Indexer
	clock     clock.PassiveClock

	mu      sync.Mutex
	written map[string]written // by slice key: own writes that the informer does not show yet
}

type written struct {
	slice   *discoveryv1.EndpointSlice
	deleted bool
	at      time.Time
}

// New returns the slices whose label endpointslice.kubernetes.io/managed-by is managedBy. changed is called with the
// "namespace/name" key of the Service when one of them changes by another hand. synced says whether changed has been
// called for all that there were at the start.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, managedBy string, changed func(service string)) (s *Slices, synced cache.DoneChecker, err error) {
	informer := factory.Discovery().V1().EndpointSlices().Informer()
	if err := IndexByService(informer); err != nil {
		return nil, nil, err
	}
	s = &Slices{client: client, managedBy: managedBy, index: informer.GetIndexer(), clock: clock.RealClock{}, written: map[string]written{}}
	notify := func(obj any) {
		slice, ok := reconcile.Deleted[*discoveryv1.EndpointSlice](obj)
		if ok && slice.Labels[discoveryv1.LabelManagedBy] == managedBy && slice.Labels[discoveryv1.LabelServiceName] != "" {
			changed(ServiceKey(slice))
		}
	}
	handled, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if !s.seen(obj.(*discoveryv1.EndpointSlice)) {
				notify(obj)
			}
		},
		UpdateFunc: func(old, obj any) {
			if !s.seen(obj.(*discoveryv1.EndpointSlice)) {
				notify(old)
				notify(obj)
			}
		},
		DeleteFunc: func(obj any) {
			if slice, ok := reconcile.Deleted[*discoveryv1.EndpointSlice](obj); ok && !s.gone(slice) {
				notify(obj)
			}
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("watch EndpointSlices: %w", err)
	}
	return s, handled.HasSyncedChecker(), nil
}

// IndexByService adds the index ByService to an informer of EndpointSlices that has not started, unless it is there.
func IndexByService(informer cache.SharedIndexInformer) error {
	if _, present := informer.GetIndexer().GetIndexers()[ByService]; present {
		return nil
	}
	if err := informer.AddIndexers(cache.Indexers{ByService: serviceKeys}); err != nil {
		return fmt.Errorf("index EndpointSlices by Service: %w", err)
	}
	return nil
}

func serviceKeys(obj any) ([]string, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, fmt.Errorf("index %T by Service: not an EndpointSlice", obj)
	}
	return []string{ServiceKey(slice)}, nil
}

// ServiceKey is the "namespace/name" key of the Service that a slice belongs to by its label.
func ServiceKey(slice *discoveryv1.EndpointSlice) string {
	return slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]
}

// Of returns the managed slices of a Service, as they are after the controller's own writes. They are shared: not to be
// changed.
func (s *Slices) Of(service string) ([]*discoveryv1.EndpointSlice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed, err := s.index.ByIndex(ByService, service)
	if err != nil {
		return nil, fmt.Errorf("look up EndpointSlices of Service %s: %w", service, err)
	}
	var result []*discoveryv1.EndpointSlice
	shown := map[string]bool{}
	for _, obj := range listed {
		slice := obj.(*discoveryv1.EndpointSlice)
		if slice.Labels[discoveryv1.LabelManagedBy] != s.managedBy {
			continue
		}
		shown[sliceKey(slice)] = true
		own, waiting := s.ownWrite(sliceKey(slice))
		switch {
		case waiting && own.deleted && own.slice.UID == slice.UID:
		case waiting && !own.deleted && newer(own.slice, slice):
			result = append(result, own.slice)
		default:
			result = append(result, slice)
		}
	}
	for key := range s.written {
		if own, waiting := s.ownWrite(key); waiting && !own.deleted && !shown[key] && ServiceKey(own.slice) == service {
			result = append(result, own.slice)
		}
	}
	return result, nil
}

func (s *Slices) ownWrite(key string) (own written, waiting bool) {
	own, waiting = s.written[key]
	if waiting && s.clock.Since(own.at) > forgetAfter {
		delete(s.written, key)
		return written{}, false
	}
	return own, waiting
}

// Apply carries changes out. trigger is the time of the oldest change they answer, or zero. In a namespace that is
// being deleted nothing is created, which is no error.
func (s *Slices) Apply(ctx context.Context, changes Changes, trigger time.Time) error {
	var failures []error
	for _, slice := range changes.Create {
		stamp(slice, trigger)
		created, err := s.client.DiscoveryV1().EndpointSlices(slice.Namespace).Create(ctx, slice, metav1.CreateOptions{})
		switch {
		case err == nil:
			s.wrote(created)
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil
		default:
			failures = append(failures, fmt.Errorf("create EndpointSlice for Service %s: %w", ServiceKey(slice), err))
		}
	}
	for _, slice := range changes.Update {
		stamp(slice, trigger)
		updated, err := s.client.DiscoveryV1().EndpointSlices(slice.Namespace).Update(ctx, slice, metav1.UpdateOptions{})
		switch {
		case err == nil:
			s.wrote(updated)
		case apierrors.IsNotFound(err):
			s.forget(slice)
			failures = append(failures, fmt.Errorf("update EndpointSlice %s/%s: %w", slice.Namespace, slice.Name, err))
		default:
			failures = append(failures, fmt.Errorf("update EndpointSlice %s/%s: %w", slice.Namespace, slice.Name, err))
		}
	}
	for _, slice := range changes.Delete {
		err := s.client.DiscoveryV1().EndpointSlices(slice.Namespace).Delete(ctx, slice.Name,
			metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(slice.UID)}})
		if err != nil && !apierrors.IsNotFound(err) {
			failures = append(failures, fmt.Errorf("delete EndpointSlice %s/%s: %w", slice.Namespace, slice.Name, err))
			continue
		}
		s.deleted(slice)
	}
	return errors.Join(failures...)
}

// stamp writes the time of the change that made the write necessary: proxies measure their delay by it.
func stamp(slice *discoveryv1.EndpointSlice, trigger time.Time) {
	if trigger.IsZero() {
		delete(slice.Annotations, corev1.EndpointsLastChangeTriggerTime)
		return
	}
	if slice.Annotations == nil {
		slice.Annotations = map[string]string{}
	}
	slice.Annotations[corev1.EndpointsLastChangeTriggerTime] = trigger.UTC().Format(time.RFC3339Nano)
}

// wrote remembers a write unless the informer shows it already.
func (s *Slices) wrote(slice *discoveryv1.EndpointSlice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, present, _ := s.index.GetByKey(sliceKey(slice)) // a store in memory never errs
	if present && !newer(slice, obj.(*discoveryv1.EndpointSlice)) || slice.ResourceVersion == "" {
		delete(s.written, sliceKey(slice))
		return
	}
	s.written[sliceKey(slice)] = written{slice: slice, at: s.clock.Now()}
}

func (s *Slices) deleted(slice *discoveryv1.EndpointSlice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if obj, present, _ := s.index.GetByKey(sliceKey(slice)); !present || obj.(*discoveryv1.EndpointSlice).UID != slice.UID {
		delete(s.written, sliceKey(slice))
		return
	}
	s.written[sliceKey(slice)] = written{slice: slice, deleted: true, at: s.clock.Now()}
}

func (s *Slices) forget(slice *discoveryv1.EndpointSlice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.written, sliceKey(slice))
}

// seen notes what the informer shows and says whether it is an own write, or older than one.
func (s *Slices) seen(slice *discoveryv1.EndpointSlice) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, waiting := s.written[sliceKey(slice)]
	switch {
	case !waiting:
		return false
	case own.deleted:
		return own.slice.UID == slice.UID
	case newer(own.slice, slice):
		return true
	}
	delete(s.written, sliceKey(slice))
	return own.slice.ResourceVersion == slice.ResourceVersion
}

// gone notes a deletion that the informer shows and says whether it was an own one.
func (s *Slices) gone(slice *discoveryv1.EndpointSlice) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, waiting := s.written[sliceKey(slice)]
	if !waiting || own.slice.UID != slice.UID {
		return false
	}
	delete(s.written, sliceKey(slice))
	return own.deleted
}

func sliceKey(slice *discoveryv1.EndpointSlice) string { return slice.Namespace + "/" + slice.Name }

// newer says whether a was written after b. Resource versions that cannot be compared are taken as equal.
func newer(a, b *discoveryv1.EndpointSlice) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}
