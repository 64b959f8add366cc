package proxy

import (
	"context"
	"fmt"
	"sync"

	"github.com/kubelite/kubelite/internal/mirror"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// selector leaves out what no proxy serves and what another proxy serves, as kube-proxy does.
const selector = "!" + corev1.IsHeadlessService + ",!" + plan.LabelServiceProxyName

const byService = "service"

// watched holds the current Services and EndpointSlices, and remembers which Services changed.
type watched struct {
	services *mirror.Mirror
	slices   *mirror.Mirror

	mutex   sync.Mutex
	changed map[types.NamespacedName]bool
	// wake holds one token while changed has something that nobody has come for yet.
	wake chan struct{}
}

// watch starts to watch, until ctx is done.
func watch(ctx context.Context, client kubernetes.Interface) *watched {
	w := &watched{changed: map[types.NamespacedName]bool{}, wake: make(chan struct{}, 1)}
	w.services = mirror.New(client, client.CoreV1().Services(metav1.NamespaceAll), &corev1.Service{},
		mirror.Options{LabelSelector: selector, Transform: strip, Changed: w.mark})
	w.slices = mirror.New(client, client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll), &discoveryv1.EndpointSlice{},
		mirror.Options{LabelSelector: selector, Transform: strip, Changed: w.mark, Indexers: cache.Indexers{byService: serviceIndex}})
	go w.services.Run(ctx)
	go w.slices.Run(ctx)
	return w
}

// synced waits for the first complete lists; false when ctx ended before.
func (w *watched) synced(ctx context.Context) bool {
	for _, mirror := range []*mirror.Mirror{w.services, w.slices} {
		select {
		case <-mirror.Synced():
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func serviceIndex(object any) ([]string, error) {
	if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
		if name, ok := plan.ServiceOf(slice); ok {
			return []string{name.String()}, nil
		}
	}
	return nil, nil
}

func (w *watched) mark(object any) {
	var name types.NamespacedName
	switch object := object.(type) {
	case *corev1.Service:
		name = types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
	case *discoveryv1.EndpointSlice:
		var ok bool
		if name, ok = plan.ServiceOf(object); !ok {
			return
		}
	default:
		return
	}
	w.mutex.Lock()
	w.changed[name] = true
	w.mutex.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the names of the Services that changed since the last call.
func (w *watched) take() map[types.NamespacedName]bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	changed := w.changed
	w.changed = map[types.NamespacedName]bool{}
	return changed
}

// plan plans one Service as it is now; empty when it is gone.
func (w *watched) plan(name types.NamespacedName, node plan.Node) ([]plan.Port, error) {
	object, exists, err := w.services.Objects().GetByKey(name.String())
	if err != nil {
		return nil, fmt.Errorf("look up Service %s: %w", name, err)
	}
	if !exists {
		return nil, nil
	}
	found, err := w.slices.Objects().ByIndex(byService, name.String())
	if err != nil {
		return nil, fmt.Errorf("look up EndpointSlices of Service %s: %w", name, err)
	}
	endpointSlices := make([]*discoveryv1.EndpointSlice, 0, len(found))
	for _, slice := range found {
		endpointSlices = append(endpointSlices, slice.(*discoveryv1.EndpointSlice))
	}
	return plan.Service(object.(*corev1.Service), endpointSlices, node), nil
}

// strip drops what no plan looks at, so that it is not kept in memory. The annotation of a Service's last apply alone is
// as large as the Service.
func strip(object any) (any, error) {
	switch object := object.(type) {
	case *corev1.Service:
		object.ManagedFields, object.Annotations, object.OwnerReferences = nil, nil, nil
		object.Spec.Selector, object.Status.Conditions = nil, nil
	case *discoveryv1.EndpointSlice:
		object.ManagedFields, object.Annotations, object.OwnerReferences = nil, nil, nil
		for i := range object.Endpoints {
			endpoint := &object.Endpoints[i]
			endpoint.TargetRef, endpoint.Hostname, endpoint.Zone, endpoint.DeprecatedTopology = nil, nil, nil, nil
		}
	}
	return object, nil
}
