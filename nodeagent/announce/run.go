package announce

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
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
// if there is no such interface, or packet sockets are not allowed.
func Run(ctx context.Context, config Config) error {
	restConfig := rest.CopyConfig(config.RestConfig)
	restConfig.ContentType = runtime.ContentTypeProtobuf
	restConfig.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	return run(ctx, config, client)
}

func run(ctx context.Context, config Config, client kubernetes.Interface) error {
	responder, err := newResponder(config.Namespace, config.Interface)
	if err != nil {
		return fmt.Errorf("answer ARP: %w", err)
	}
	served := make(chan error, 1)
	go func() { served <- responder.serve() }() // ends with close
	watching, stop := context.WithCancel(ctx)
	defer stop()
	w, err := newWatch(watching, client)
	if err != nil {
		responder.close()
		<-served
		return err
	}
	defer w.factory.Shutdown()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			responder.close()
			<-served
			return nil
		case err := <-served:
			responder.close()
			return err
		case <-w.changed:
			w.update(config.NodeName, responder)
		}
	}
}

// watch follows what decides who answers.
type watch struct {
	factory  informers.SharedInformerFactory
	services corelisters.ServiceLister
	nodes    corelisters.NodeLister
	slices   discoverylisters.EndpointSliceLister
	synced   []cache.InformerSynced
	changed  chan struct{} // holds one token while something has changed
}

func newWatch(ctx context.Context, client kubernetes.Interface) (*watch, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(essence))
	w := &watch{
		factory:  factory,
		services: factory.Core().V1().Services().Lister(),
		nodes:    factory.Core().V1().Nodes().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
		changed:  make(chan struct{}, 1),
	}
	wake := func() {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Services().Informer(), factory.Core().V1().Nodes().Informer(), factory.Discovery().V1().EndpointSlices().Informer(),
	} {
		handled, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { wake() }, UpdateFunc: func(_, _ any) { wake() }, DeleteFunc: func(any) { wake() },
		})
		if err != nil {
			return nil, fmt.Errorf("watch load balancer addresses: %w", err)
		}
		w.synced = append(w.synced, handled.HasSynced)
	}
	factory.StartWithContext(ctx)
	go func() { // ends with ctx
		if cache.WaitForCacheSync(ctx.Done(), w.synced...) {
			wake()
		}
	}()
	return w, nil
}

// update announces this node's addresses as things stand. It does nothing before all of them are known: with half of the
// nodes seen, a wrong one would answer.
func (w *watch) update(node string, responder *responder) {
	for _, synced := range w.synced {
		if !synced() {
			return
		}
	}
	services, err := w.services.List(labels.Everything())
	if err != nil {
		slog.Error("list Services", "error", err)
		return
	}
	nodes, err := w.nodes.List(labels.Everything())
	if err != nil {
		slog.Error("list Nodes", "error", err)
		return
	}
	added, removed := responder.announce(addressesOf(node, services, nodes, w.slicesOf))
	if len(added)+len(removed) > 0 {
		slog.Info("load balancer addresses of this node changed", "added", added, "removed", removed)
	}
}

func (w *watch) slicesOf(service *corev1.Service) []*discoveryv1.EndpointSlice {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name})
	found, err := w.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		slog.Error("list EndpointSlices", "error", err)
	}
	return found
}

// essence reduces an object to what election.go reads, before it is kept.
func essence(obj any) (any, error) {
	switch object := obj.(type) {
	case *corev1.Service:
		return &corev1.Service{
			ObjectMeta: identity(object.ObjectMeta, nil),
			Spec:       corev1.ServiceSpec{Type: object.Spec.Type, ExternalTrafficPolicy: object.Spec.ExternalTrafficPolicy},
			Status:     corev1.ServiceStatus{LoadBalancer: object.Status.LoadBalancer},
		}, nil
	case *corev1.Node:
		return &corev1.Node{
			ObjectMeta: identity(object.ObjectMeta, object.Labels),
			Status:     corev1.NodeStatus{Conditions: object.Status.Conditions},
		}, nil
	case *discoveryv1.EndpointSlice:
		reduced := &discoveryv1.EndpointSlice{ObjectMeta: identity(object.ObjectMeta, object.Labels)}
		for _, endpoint := range object.Endpoints {
			reduced.Endpoints = append(reduced.Endpoints, discoveryv1.Endpoint{NodeName: endpoint.NodeName, Conditions: endpoint.Conditions})
		}
		return reduced, nil
	}
	return obj, nil
}

func identity(meta metav1.ObjectMeta, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion, Labels: labels}
}
