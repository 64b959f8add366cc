package loadbalancer

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// proxyHealth is where the Service proxy of every node serves /healthz (kube-proxy's --healthz-bind-address).
var proxyHealth = nodePort{10256, corev1.ProtocolTCP}

// Indexes of Services by ports of the nodes, written as 30080/TCP.
const (
	// byNodePort finds the Services that have the port as a node port, or for health checks.
	byNodePort = "nodePort"
	// byBalancedPort finds the Services that want it as a load balancer's.
	byBalancedPort = "loadBalancerPort"
)

// watchNodePorts indexes an informer of Services that has not started, and calls add with the key of a Service whose load balancer
// wants a port when another one takes it for a node port, or gives it back.
func watchNodePorts(services cache.SharedIndexInformer, add func(service string)) (cache.DoneChecker, error) {
	err := services.AddIndexers(cache.Indexers{
		byNodePort: portIndex(nodePortsOf),
		byBalancedPort: portIndex(func(service *corev1.Service) []nodePort {
			if !wantsAddress(service) {
				return nil
			}
			return portsOf(service)
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("index Services by ports of the nodes: %w", err)
	}
	changed := func(ports []nodePort) {
		for _, port := range ports {
			keys, err := services.GetIndexer().IndexKeys(byBalancedPort, port.String())
			if err != nil {
				slog.Error("look up Services by their load balancers' ports", "port", port, "error", err)
			}
			for _, key := range keys {
				add(key)
			}
		}
	}
	of := func(obj any) {
		if service, ok := reconcile.Deleted[*corev1.Service](obj); ok {
			changed(nodePortsOf(service))
		}
	}
	handled, err := services.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: of, DeleteFunc: of, UpdateFunc: func(old, obj any) {
		before, now := nodePortsOf(old.(*corev1.Service)), nodePortsOf(obj.(*corev1.Service))
		if !slices.Equal(before, now) {
			changed(append(before, now...))
		}
	}})
	if err != nil {
		return nil, fmt.Errorf("watch Services for their node ports: %w", err)
	}
	return handled.HasSyncedChecker(), nil
}

func portIndex(of func(service *corev1.Service) []nodePort) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		service, ok := obj.(*corev1.Service)
		if !ok {
			return nil, fmt.Errorf("index %T by ports: not a Service", obj)
		}
		var ports []string
		for _, port := range of(service) {
			ports = append(ports, port.String())
		}
		return ports, nil
	}
}

// nodePortsOf are the ports that a Service has on every node without a load balancer.
func nodePortsOf(service *corev1.Service) []nodePort {
	var ports []nodePort
	for _, port := range service.Spec.Ports {
		if port.NodePort != 0 {
			ports = append(ports, nodePort{port.NodePort, cmp.Or(port.Protocol, corev1.ProtocolTCP)})
		}
	}
	if service.Spec.HealthCheckNodePort != 0 {
		ports = append(ports, nodePort{service.Spec.HealthCheckNodePort, corev1.ProtocolTCP})
	}
	return ports
}

// occupant says who has a port of the nodes without a load balancer, for people to read; empty if nobody has, or the Service with
// the key itself.
func (c *cluster) occupant(port nodePort, key string) (string, error) {
	if port == proxyHealth {
		return "the Service proxy has it for its health check", nil
	}
	holders, err := c.serviceIndex.IndexKeys(byNodePort, port.String())
	if err != nil {
		return "", fmt.Errorf("look up Services by node port: %w", err)
	}
	slices.Sort(holders)
	for _, holder := range holders {
		if holder != key {
			return fmt.Sprintf("Service %s has it as a node port", holder), nil
		}
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return "", fmt.Errorf("list Nodes: %w", err)
	}
	for _, node := range nodes {
		if agent := (nodePort{node.Status.DaemonEndpoints.KubeletEndpoint.Port, corev1.ProtocolTCP}); agent == port {
			return "the nodes' agents have it", nil
		}
	}
	return "", nil
}
