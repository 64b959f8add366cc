package userspace

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kubelite/kubelite/proxy/plan"
)

// scope is which endpoints of a Service port a connection may go to.
type scope int

const (
	clusterScope scope = iota // those for traffic policy Cluster
	localScope                // those for traffic policy Local
)

// balancer chooses the endpoints of one Service port. Its methods may be called concurrently.
type balancer struct {
	mutex     sync.Mutex
	endpoints [2][]netip.AddrPort // by scope
	next      [2]int              // counts the choices, by scope
	// affinity is how long after its last connection a client keeps its endpoint; 0 for no session affinity.
	affinity time.Duration
	// clients are those with an endpoint to keep, by scope: who uses both ways in has an endpoint for each.
	clients [2]map[netip.Addr]affine
	// expire is when clients is next searched for those whose time is over.
	expire time.Time
}

// affine is the endpoint that a client keeps.
type affine struct {
	endpoint netip.AddrPort
	used     time.Time
}

// newBalancer begins at any endpoint, so that not all nodes begin at the same.
func newBalancer() *balancer {
	return &balancer{next: [2]int{rand.IntN(1 << 16), rand.IntN(1 << 16)}, clients: [2]map[netip.Addr]affine{{}, {}}}
}

// set takes over the endpoints and the affinity of port.
func (b *balancer) set(port *plan.Port) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.endpoints = [2][]netip.AddrPort{addresses(port.Cluster), addresses(port.Local)}
	b.affinity = time.Duration(port.AffinitySeconds) * time.Second
	if b.affinity == 0 {
		for _, clients := range b.clients {
			clear(clients)
		}
	}
}

func addresses(endpoints []plan.Endpoint) []netip.AddrPort {
	all := make([]netip.AddrPort, 0, len(endpoints))
	for _, endpoint := range endpoints {
		all = append(all, endpoint.AddrPort)
	}
	return all
}

// pick is the client's endpoint, or the next in turn; false when there is none that is not among failed.
func (b *balancer) pick(scope scope, client netip.Addr, failed []netip.AddrPort) (netip.AddrPort, bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	now, endpoints := time.Now(), b.endpoints[scope]
	usable := func(endpoint netip.AddrPort) bool {
		return slices.Contains(endpoints, endpoint) && !slices.Contains(failed, endpoint)
	}
	if b.affinity > 0 {
		b.forgetExpired(now)
		if kept, ok := b.clients[scope][client]; ok && now.Sub(kept.used) < b.affinity && usable(kept.endpoint) {
			b.clients[scope][client] = affine{kept.endpoint, now}
			return kept.endpoint, true
		}
	}
	for range endpoints {
		endpoint := endpoints[b.next[scope]%len(endpoints)]
		b.next[scope]++
		if !usable(endpoint) {
			continue
		}
		if b.affinity > 0 {
			b.clients[scope][client] = affine{endpoint, now}
		}
		return endpoint, true
	}
	return netip.AddrPort{}, false
}

// forget ends the client's affinity to an endpoint that did not serve it.
func (b *balancer) forget(scope scope, client netip.Addr, endpoint netip.AddrPort) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.clients[scope][client].endpoint == endpoint {
		delete(b.clients[scope], client)
	}
}

// forgetExpired searches all clients once in the time that they are kept.
func (b *balancer) forgetExpired(now time.Time) {
	if now.Before(b.expire) {
		return
	}
	b.expire = now.Add(b.affinity)
	for _, clients := range b.clients {
		for client, kept := range clients {
			if now.Sub(kept.used) >= b.affinity {
				delete(clients, client)
			}
		}
	}
}
