// Package loadbalancer gives every Service of type LoadBalancer an address from a pool on the underlay network.
//
// Its Kubernetes counterpart is a cloud's service controller, or MetalLB's controller. In: Services. Out: their
// status.loadBalancer, and Events. The Services' status is the only record: it is read back at start, so no finalizer is
// needed, and an address is free again when its Service is deleted or changes its type. Who answers for an address on the
// network is nodeagent/announce's business.
//
// Start reading at pool.go, which is pure: the lowest free address, or the one that spec.loadBalancerIP or the annotations
// kubelite.io/load-balancer-ip and metallb.io/loadBalancerIPs ask for. A Service that gets none stays pending, with an
// Event, and is looked at again when an address is released. Services with a spec.loadBalancerClass are left to others.
//
// Deliberately missing: several Services sharing an address, IPv6.
package loadbalancer
