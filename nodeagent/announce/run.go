package announce

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/internal/mirror"
)

// Config is what an announcer needs to know.
type Config struct {
	RestConfig *rest.Config // how the API server is reached; spoken to in protobuf
	NodeName   string       // of the node that it answers for
	Interface  string       // on the underlay network, for example eth0
	// Namespace is the path of the network namespace that the interface is in; empty for the own one.
	Namespace string
}

// Run answers for this node's share of the load balancer addresses until ctx is done, and returns nil then. It is an error
// if there is no such interface, if it is deleted, if packet sockets are not allowed, or if RestConfig has no client certificate
// with an ECDSA key: heartbeats are signed with it.
func Run(ctx context.Context, config Config) error {
	restConfig := rest.CopyConfig(config.RestConfig)
	restConfig.ContentType = runtime.ContentTypeProtobuf
	restConfig.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	identity, err := identityOf(restConfig)
	if err != nil {
		return fmt.Errorf("announce load balancer addresses: %w", err)
	}
	return run(ctx, config, identity, client)
}

func run(ctx context.Context, config Config, identity identity, client kubernetes.Interface) error {
	responder, err := newResponder(config.Namespace, config.Interface)
	if err != nil {
		return fmt.Errorf("answer ARP: %w", err)
	}
	herald, err := newHerald(identity, responder)
	if err != nil {
		responder.close()
		return fmt.Errorf("hear other nodes: %w", err)
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	s := &speaker{
		node: config.NodeName, watch: newWatch(watching, client), responder: responder, herald: herald,
		liveness: newLiveness(config.NodeName),
	}
	return s.run(ctx)
}

// byService finds the EndpointSlices of NAMESPACE/NAME.
const byService = "service"

// watch follows what decides who answers.
type watch struct {
	services, nodes, slices *mirror.Mirror
	changed                 chan struct{} // holds one token while something has changed
}

// newWatch starts to watch, until ctx is done.
func newWatch(ctx context.Context, client kubernetes.Interface) *watch {
	w := &watch{changed: make(chan struct{}, 1)}
	options := mirror.Options{Transform: essence, Changed: w.noteChange}
	w.services = mirror.New(client, client.CoreV1().Services(metav1.NamespaceAll), &corev1.Service{}, options)
	w.nodes = mirror.New(client, client.CoreV1().Nodes(), &corev1.Node{}, options)
	options.Indexers = cache.Indexers{byService: serviceIndex}
	w.slices = mirror.New(client, client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll), &discoveryv1.EndpointSlice{}, options)
	for _, mirror := range w.mirrors() {
		go mirror.Run(ctx)
		go func() { // the last list may be empty, and change nothing; ends with ctx
			select {
			case <-mirror.Synced():
				w.wake()
			case <-ctx.Done():
			}
		}()
	}
	return w
}

func (w *watch) mirrors() []*mirror.Mirror { return []*mirror.Mirror{w.services, w.nodes, w.slices} }

func (w *watch) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// noteChange wakes for what may change who answers: most Services and their EndpointSlices cannot.
func (w *watch) noteChange(changed any) {
	switch object := changed.(type) {
	case *corev1.Service:
		if object.Spec.Type != corev1.ServiceTypeLoadBalancer {
			return
		}
	case *discoveryv1.EndpointSlice:
		service, exists, err := w.services.Objects().GetByKey(object.Namespace + "/" + object.Labels[discoveryv1.LabelServiceName])
		if err == nil && (!exists || !local(service.(*corev1.Service))) {
			return
		}
	}
	w.wake()
}

// synced says whether all that there was at the start is known.
func (w *watch) synced() bool {
	for _, mirror := range w.mirrors() {
		if !mirror.HasSynced() {
			return false
		}
	}
	return true
}

// objects are all that a mirror holds.
func objects[T any](mirror *mirror.Mirror) []T {
	list := mirror.Objects().List()
	typed := make([]T, 0, len(list))
	for _, object := range list {
		typed = append(typed, object.(T))
	}
	return typed
}

func (w *watch) slicesOf(service *corev1.Service) []*discoveryv1.EndpointSlice {
	found, err := w.slices.Objects().ByIndex(byService, service.Namespace+"/"+service.Name)
	if err != nil {
		slog.Error("look up EndpointSlices", "service", service.Namespace+"/"+service.Name, "error", err)
	}
	endpointSlices := make([]*discoveryv1.EndpointSlice, 0, len(found))
	for _, slice := range found {
		endpointSlices = append(endpointSlices, slice.(*discoveryv1.EndpointSlice))
	}
	return endpointSlices
}

func serviceIndex(object any) ([]string, error) {
	if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
		return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
	}
	return nil, nil
}

// essence reduces an object to what election.go reads, before it is kept.
func essence(obj any) (any, error) {
	switch object := obj.(type) {
	case *corev1.Service:
		return &corev1.Service{
			ObjectMeta: identifying(object.ObjectMeta, nil),
			Spec:       corev1.ServiceSpec{Type: object.Spec.Type, ExternalTrafficPolicy: object.Spec.ExternalTrafficPolicy},
			Status:     corev1.ServiceStatus{LoadBalancer: object.Status.LoadBalancer},
		}, nil
	case *corev1.Node:
		return &corev1.Node{
			ObjectMeta: identifying(object.ObjectMeta, object.Labels),
			Status:     corev1.NodeStatus{Conditions: object.Status.Conditions, Addresses: object.Status.Addresses},
		}, nil
	case *discoveryv1.EndpointSlice:
		reduced := &discoveryv1.EndpointSlice{ObjectMeta: identifying(object.ObjectMeta, object.Labels)}
		for _, endpoint := range object.Endpoints {
			reduced.Endpoints = append(reduced.Endpoints, discoveryv1.Endpoint{NodeName: endpoint.NodeName, Conditions: endpoint.Conditions})
		}
		return reduced, nil
	}
	return obj, nil
}

func identifying(meta metav1.ObjectMeta, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion, Labels: labels}
}
