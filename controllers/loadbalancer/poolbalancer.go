package loadbalancer

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// poolBalancer is PoolMode.
type poolBalancer struct {
	pool   Pool
	taken  map[string]netip.Addr // by Service key
	holder map[netip.Addr]string // taken the other way round
}

func newPoolBalancer(pool Pool) *poolBalancer {
	return &poolBalancer{pool: pool, taken: map[string]netip.Addr{}, holder: map[netip.Addr]string{}}
}

func (b *poolBalancer) adopt(service *corev1.Service) {
	address := heldAddress(service)
	if b.pool.Contains(address) && b.holder[address] == "" {
		b.take(reconcile.ObjectKey(service), address)
	}
}

func (b *poolBalancer) assign(service *corev1.Service) (status corev1.LoadBalancerStatus, freed bool, err error) {
	key := reconcile.ObjectKey(service)
	held, had := b.taken[key]
	if !had {
		held = heldAddress(service)
	}
	requested, err := requestedAddress(service)
	if err != nil {
		return status, b.release(key), err
	}
	if !ofService(service, b.pool.First) {
		return status, b.release(key), fmt.Errorf("%w %s", ErrFamily, b.pool)
	}
	address, err := b.pool.choose(requested, held, func(address netip.Addr) bool {
		holder := b.holder[address]
		return holder != "" && holder != key
	})
	if err != nil {
		return status, b.release(key), err
	}
	b.release(key)
	b.take(key, address)
	return statusWith(address), had && held != address, nil
}

func (b *poolBalancer) take(key string, address netip.Addr) {
	b.taken[key], b.holder[address] = address, key
}

func (b *poolBalancer) release(key string) (had bool) {
	address, had := b.taken[key]
	if had {
		delete(b.taken, key)
		delete(b.holder, address)
	}
	return had
}

func (b *poolBalancer) holds(key string) bool {
	_, held := b.taken[key]
	return held
}
