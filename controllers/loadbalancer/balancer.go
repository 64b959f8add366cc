package loadbalancer

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Mode is where the addresses of Services of type LoadBalancer come from.
type Mode string

const (
	// PoolMode gives every Service an address of its own, as a cloud does.
	PoolMode Mode = "pool"
	// NodeMode gives every Service the nodes' own addresses, as k3s and Docker Desktop do: a port can have one Service only.
	NodeMode Mode = "node"
)

// Config says how Services get their addresses.
type Config struct {
	Mode Mode // PoolMode if empty
	Pool Pool // of PoolMode
}

// balancer decides what Services get, and remembers it. It is used by one goroutine.
type balancer interface {
	// adopt learns what a Service has by its status, at start, older Services first.
	adopt(service *corev1.Service)
	// assign returns the addresses that a Service is to have: those that it has, where that is right. An error says why it gets
	// none, for people to read; the Service has nothing then. freed says whether another Service may get what this one had.
	assign(service *corev1.Service) (status corev1.LoadBalancerStatus, freed bool, err error)
	// release takes back what the Service with the "namespace/name" key has, and says whether it had anything.
	release(key string) (had bool)
	// holds says whether the Service with the key has something.
	holds(key string) bool
}

func newBalancer(config Config, cluster *cluster) (balancer, error) {
	switch config.Mode {
	case PoolMode, "":
		return newPoolBalancer(config.Pool), nil
	case NodeMode:
		return newNodeBalancer(cluster), nil
	}
	return nil, fmt.Errorf("load balancers of mode %q: use %s or %s", config.Mode, PoolMode, NodeMode)
}
