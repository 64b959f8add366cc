package loadbalancer

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/slicing"
)

// cluster is what NodeMode knows of nodes, of the ports that are taken on them, and of where endpoints are.
type cluster struct {
	services     corelisters.ServiceLister
	serviceIndex cache.Indexer // has the indexes of watchNodePorts
	nodes        corelisters.NodeLister
	slices       cache.Indexer
}

// newCluster looks at the factory's Services, Nodes and EndpointSlices, and calls add with the keys of the Services that depend on what
// changes there. synced says whether it has been told of all.
func newCluster(factory informers.SharedInformerFactory, add func(service string)) (c *cluster, synced []cache.DoneChecker, err error) {
	nodes, endpointSlices := factory.Core().V1().Nodes(), factory.Discovery().V1().EndpointSlices().Informer()
	services := factory.Core().V1().Services()
	if err := slicing.IndexByService(endpointSlices); err != nil {
		return nil, nil, err
	}
	handled, err := watchNodePorts(services.Informer(), add)
	if err != nil {
		return nil, nil, err
	}
	synced = append(synced, handled)
	c = &cluster{
		services: services.Lister(), serviceIndex: services.Informer().GetIndexer(), nodes: nodes.Lister(), slices: endpointSlices.GetIndexer(),
	}
	ofSlice := func(obj any) {
		if slice, ok := reconcile.Deleted[*discoveryv1.EndpointSlice](obj); ok {
			if service, err := c.services.Services(slice.Namespace).Get(slice.Labels[discoveryv1.LabelServiceName]); err == nil && local(service) {
				add(reconcile.ObjectKey(service))
			}
		}
	}
	all := func(any) {
		services, err := c.services.List(labels.Everything())
		if err != nil {
			slog.Error("list Services", "error", err)
		}
		for _, service := range services {
			if wantsAddress(service) {
				add(reconcile.ObjectKey(service))
			}
		}
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandlerFuncs{
		endpointSlices: {AddFunc: ofSlice, UpdateFunc: func(_, obj any) { ofSlice(obj) }, DeleteFunc: ofSlice},
		nodes.Informer(): {AddFunc: all, DeleteFunc: all, UpdateFunc: func(old, obj any) {
			if before, now := old.(*corev1.Node), obj.(*corev1.Node); balancingChanged(before, now) {
				all(obj)
			}
		}},
	} {
		handled, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, nil, fmt.Errorf("watch what load balancers lead to: %w", err)
		}
		synced = append(synced, handled.HasSyncedChecker())
	}
	return c, synced, nil
}

// balancingChanged says whether a Node changed in what load balancers depend on. Heartbeats do not.
func balancingChanged(old, node *corev1.Node) bool {
	return len(balancing([]*corev1.Node{old})) != len(balancing([]*corev1.Node{node})) ||
		old.Status.DaemonEndpoints != node.Status.DaemonEndpoints || !apiequality.Semantic.DeepEqual(old.Status.Addresses, node.Status.Addresses)
}

// addressesFor returns the addresses of the nodes that take a Service's traffic: of those with a ready endpoint where
// externalTrafficPolicy is Local, else of all.
func (c *cluster) addressesFor(service *corev1.Service) ([]netip.Addr, error) {
	all, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list Nodes: %w", err)
	}
	nodes := balancing(all)
	if local(service) {
		with, err := c.nodesWithEndpoint(service)
		if err != nil {
			return nil, err
		}
		nodes = slices.DeleteFunc(nodes, func(node *corev1.Node) bool { return !with[node.Name] })
	}
	return nodeAddresses(service, nodes), nil
}

// nodesWithEndpoint are the names of the nodes with a ready endpoint of the Service.
func (c *cluster) nodesWithEndpoint(service *corev1.Service) (map[string]bool, error) {
	found, err := c.slices.ByIndex(slicing.ByService, reconcile.ObjectKey(service))
	if err != nil {
		return nil, fmt.Errorf("look up EndpointSlices of Service %s: %w", reconcile.ObjectKey(service), err)
	}
	with := map[string]bool{}
	for _, obj := range found {
		for _, endpoint := range obj.(*discoveryv1.EndpointSlice).Endpoints {
			if endpoint.NodeName != nil && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
				with[*endpoint.NodeName] = true
			}
		}
	}
	return with, nil
}

func local(service *corev1.Service) bool {
	return service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}
