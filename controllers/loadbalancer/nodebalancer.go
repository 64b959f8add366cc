package loadbalancer

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// ErrPortTaken is returned when another Service, or a node itself, has a port of the nodes that a Service needs.
var ErrPortTaken = errors.New("port of the nodes is already in use")

// nodePort is a port of every node's addresses.
type nodePort struct {
	number   int32
	protocol corev1.Protocol
}

func (p nodePort) String() string { return strconv.Itoa(int(p.number)) + "/" + string(p.protocol) }

// nodeBalancer is NodeMode. A Service has its ports on every node, also on those whose addresses it does not show, so that
// the ports of a Service with externalTrafficPolicy Local do not depend on where its Pods are.
type nodeBalancer struct {
	cluster *cluster
	taken   map[string][]nodePort // by Service key
	holder  map[nodePort]string   // taken the other way round
}

func newNodeBalancer(cluster *cluster) *nodeBalancer {
	return &nodeBalancer{cluster: cluster, taken: map[string][]nodePort{}, holder: map[nodePort]string{}}
}

func (b *nodeBalancer) adopt(service *corev1.Service) {
	if len(service.Status.LoadBalancer.Ingress) > 0 && b.conflict(service) == nil {
		b.take(service)
	}
}

func (b *nodeBalancer) assign(service *corev1.Service) (status corev1.LoadBalancerStatus, freed bool, err error) {
	key := reconcile.ObjectKey(service)
	if err := b.conflict(service); err != nil {
		return status, b.release(key), err
	}
	before := b.taken[key]
	b.release(key)
	b.take(service)
	for _, port := range before {
		freed = freed || b.holder[port] == ""
	}
	addresses, err := b.cluster.addressesFor(service)
	return statusOf(addresses), freed, err
}

// conflict says who has a port that the Service needs; nil if nobody has.
func (b *nodeBalancer) conflict(service *corev1.Service) error {
	key := reconcile.ObjectKey(service)
	for _, port := range portsOf(service) {
		if holder := b.holder[port]; holder != "" && holder != key {
			return fmt.Errorf("%s: %w: Service %s has it", port, ErrPortTaken, holder)
		}
		occupant, err := b.cluster.occupant(port, key)
		if err != nil {
			return err
		}
		if occupant != "" {
			return fmt.Errorf("%s: %w: %s", port, ErrPortTaken, occupant)
		}
	}
	return nil
}

func (b *nodeBalancer) take(service *corev1.Service) {
	key := reconcile.ObjectKey(service)
	b.taken[key] = portsOf(service)
	for _, port := range b.taken[key] {
		b.holder[port] = key
	}
}

func (b *nodeBalancer) release(key string) (had bool) {
	had = b.holds(key)
	for _, port := range b.taken[key] {
		delete(b.holder, port)
	}
	delete(b.taken, key)
	return had
}

func (b *nodeBalancer) holds(key string) bool { return len(b.taken[key]) > 0 }

func portsOf(service *corev1.Service) []nodePort {
	ports := make([]nodePort, 0, len(service.Spec.Ports))
	for _, port := range service.Spec.Ports {
		ports = append(ports, nodePort{port.Port, cmp.Or(port.Protocol, corev1.ProtocolTCP)})
	}
	return ports
}

// balancing are the nodes that take traffic of load balancers: Ready, and not kept away by label or deletion.
func balancing(nodes []*corev1.Node) []*corev1.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(node *corev1.Node) bool {
		return node.DeletionTimestamp != nil || excluded(node) || !ready(node)
	})
}

// excluded says whether the label that keeps load balancers away is there, unless it says "false", as Kubernetes has it.
func excluded(node *corev1.Node) bool {
	value, labelled := node.Labels[corev1.LabelNodeExcludeBalancers]
	keep, err := strconv.ParseBool(value)
	return labelled && (err != nil || keep)
}

func ready(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}

// nodeAddresses are the nodes' internal addresses of the Service's families, sorted.
func nodeAddresses(service *corev1.Service, nodes []*corev1.Node) []netip.Addr {
	var addresses []netip.Addr
	for _, node := range nodes {
		for _, candidate := range node.Status.Addresses {
			address, err := netip.ParseAddr(candidate.Address)
			if candidate.Type == corev1.NodeInternalIP && err == nil && ofService(service, address) {
				addresses = append(addresses, address)
			}
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

// ofService says whether the Service is of the address's family. A Service that does not say is of IPv4.
func ofService(service *corev1.Service, address netip.Addr) bool {
	family := corev1.IPv4Protocol
	if address.Is6() {
		family = corev1.IPv6Protocol
	}
	if len(service.Spec.IPFamilies) == 0 {
		return family == corev1.IPv4Protocol
	}
	return slices.Contains(service.Spec.IPFamilies, family)
}

// statusOf is the status of a Service with the addresses; without any, of a pending Service.
func statusOf(addresses []netip.Addr) corev1.LoadBalancerStatus {
	var status corev1.LoadBalancerStatus
	for _, address := range addresses {
		status.Ingress = append(status.Ingress, corev1.LoadBalancerIngress{IP: address.String(), IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)})
	}
	return status
}
