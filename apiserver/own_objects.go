package apiserver

import (
	"context"
	"log/slog"
	"time"

	"github.com/kubelite/kubelite/apiserver/store"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ownRetry is how long after a failure the server's own objects are made anew: of the disk, or because whoever deletes the Service
// has not given its address back yet.
const ownRetry = time.Second

// keepOwnObjects makes the Service "kubernetes" and its endpoints again when they are deleted (kubectl delete service --all), until
// the server stops. Kubernetes looks every ten seconds.
func (s *Server) keepOwnObjects(ctx context.Context) {
	for {
		select {
		case <-s.stopping:
			return
		default:
			s.followOwnObjects(ctx)
		}
	}
}

// followOwnObjects returns when the server stops, or a watch has fallen behind. It watches before it makes, so that no deletion
// falls between.
func (s *Server) followOwnObjects(ctx context.Context) {
	var changes []<-chan store.Event
	for _, resource := range []schema.GroupResource{
		corev1.Resource("services"), corev1.Resource("endpoints"), discoveryv1.Resource("endpointslices"),
	} {
		watcher, err := s.store.Watch(resource, metav1.NamespaceDefault, 0)
		if err != nil {
			slog.Error("own objects not watched", "resource", resource, "error", err)
			return
		}
		defer watcher.Stop()
		changes = append(changes, watcher.Events())
	}
	for {
		var retry <-chan time.Time
		if err := s.ensureAll(ctx); err != nil {
			slog.Warn("own objects not made", "error", err)
			retry = time.After(ownRetry)
		}
		if !s.ownObjectDeleted(changes[0], changes[1], changes[2], retry) {
			return
		}
	}
}

// ownObjectDeleted waits until one was deleted, or it is time to try again; false: until the server stops or a watch ends.
func (s *Server) ownObjectDeleted(services, endpoints, slices <-chan store.Event, retry <-chan time.Time) bool {
	for {
		var event store.Event
		var open bool
		select {
		case event, open = <-services:
		case event, open = <-endpoints:
		case event, open = <-slices:
		case <-retry:
			return true
		case <-s.stopping:
			return false
		}
		if !open {
			return false
		}
		if event.Type == store.Deleted && event.Item.Key.Name == kubernetesName {
			return true
		}
	}
}
