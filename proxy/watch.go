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
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// selector leaves out what no proxy serves and what another proxy serves, as kube-proxy does.
const selector = "!" + corev1.IsHeadlessService + ",!" + plan.LabelServiceProxyName

// watch keeps target up to date until ctx is done, and tells setNode of the node's own Node. The returned channels are closed when
// the first complete list of each is there.
func watch(ctx context.Context, client kubernetes.Interface, nodeName string, target *objects, setNode func(*corev1.Node)) []<-chan struct{} {
	services := newReader(serviceReader(target))
	endpointSlices := newReader(sliceReader(target))
	node := newReader(nodeReader(nodeName, setNode))
	chosen := mirror.Options{LabelSelector: selector}
	go mirror.NewReflector(client, client.CoreV1().Services(metav1.NamespaceAll), &corev1.Service{}, chosen, services).RunWithContext(ctx)
	go mirror.NewReflector(client, client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll), &discoveryv1.EndpointSlice{}, chosen, endpointSlices).RunWithContext(ctx)
	own := mirror.Options{FieldSelector: fields.OneTermEqualSelector("metadata.name", nodeName).String()}
	go mirror.NewReflector(client, client.CoreV1().Nodes(), &corev1.Node{}, own, node).RunWithContext(ctx)
	return []<-chan struct{}{services.synced, endpointSlices.synced, node.synced}
}

// wait waits for all channels to be closed; false when ctx ended before.
func wait(ctx context.Context, all []<-chan struct{}) bool {
	for _, one := range all {
		select {
		case <-one:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// reader is a cache.TransformingStore that keeps no object: read takes what is needed of each (of what it already took it takes the
// same again), and what is to be kept is told to the others. One goroutine writes into it.
type reader[T any] struct {
	read    func(object any) (T, bool)
	set     func(T)
	remove  func(T)
	replace func([]T)

	once   sync.Once
	synced chan struct{}
}

func newReader[T any](r *reader[T]) *reader[T] {
	r.synced = make(chan struct{})
	return r
}

func serviceReader(target *objects) *reader[*plan.ServiceInput] {
	return &reader[*plan.ServiceInput]{
		read: func(object any) (*plan.ServiceInput, bool) {
			if service, ok := object.(*corev1.Service); ok {
				return plan.ReadService(service), true
			}
			input, ok := object.(*plan.ServiceInput)
			return input, ok
		},
		set:     target.setService,
		remove:  func(service *plan.ServiceInput) { target.removeService(service.Name) },
		replace: target.replaceServices,
	}
}

func sliceReader(target *objects) *reader[*plan.SliceInput] {
	return &reader[*plan.SliceInput]{
		read: func(object any) (*plan.SliceInput, bool) {
			if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
				return plan.ReadSlice(slice), true
			}
			input, ok := object.(*plan.SliceInput)
			return input, ok
		},
		set:     target.setSlice,
		remove:  func(slice *plan.SliceInput) { target.removeSlice(slice.Name) },
		replace: target.replaceSlices,
	}
}

// nodeReader passes over other Nodes than the node's own: the fake API server of tests knows no field selector.
func nodeReader(name string, set func(*corev1.Node)) *reader[*corev1.Node] {
	return &reader[*corev1.Node]{
		read: func(object any) (*corev1.Node, bool) {
			node, ok := object.(*corev1.Node)
			return node, ok
		},
		set: func(node *corev1.Node) {
			if node.Name == name {
				set(node)
			}
		},
		remove: func(node *corev1.Node) {
			if node.Name == name {
				set(nil)
			}
		},
		replace: func(nodes []*corev1.Node) {
			var own *corev1.Node
			for _, node := range nodes {
				if node.Name == name {
					own = node
				}
			}
			set(own)
		},
	}
}

func (r *reader[T]) take(object any) (T, error) {
	taken, ok := r.read(object)
	if !ok {
		return taken, fmt.Errorf("read a watched object: it is a %T", object)
	}
	return taken, nil
}

// Transformer implements cache.TransformingStore: what is streamed at first is not kept whole until it is all there.
func (r *reader[T]) Transformer() cache.TransformFunc {
	return func(object any) (any, error) { return r.take(object) }
}

// Add implements cache.ReflectorStore.
func (r *reader[T]) Add(object any) error { return r.Update(object) }

// Update implements cache.ReflectorStore.
func (r *reader[T]) Update(object any) error {
	taken, err := r.take(object)
	if err == nil {
		r.set(taken)
	}
	return err
}

// Delete implements cache.ReflectorStore.
func (r *reader[T]) Delete(object any) error {
	taken, err := r.take(object)
	if err == nil {
		r.remove(taken)
	}
	return err
}

// Replace implements cache.ReflectorStore.
func (r *reader[T]) Replace(list []any, _ string) error {
	all := make([]T, 0, len(list))
	for _, object := range list {
		taken, err := r.take(object)
		if err != nil {
			return err
		}
		all = append(all, taken)
	}
	r.replace(all)
	r.once.Do(func() { close(r.synced) })
	return nil
}

// Resync implements cache.ReflectorStore. There is nothing to do.
func (r *reader[T]) Resync() error { return nil }

var _ cache.TransformingStore = (*reader[types.NamespacedName])(nil)
