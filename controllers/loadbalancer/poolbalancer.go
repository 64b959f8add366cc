package loadbalancer

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// poolBalancer is PoolMode.
type poolBalancer struct {
	pool  Pool
	taken map[string]netip.Addr // by Service key
}

func newPoolBalancer(pool Pool) *poolBalancer {
	return &poolBalancer{pool: pool, taken: map[string]netip.Addr{}}
}

func (b *poolBalancer) adopt(service *corev1.Service) {
	address := heldAddress(service)
	if b.pool.Contains(address) && !b.others("")[address] {
		b.taken[reconcile.ObjectKey(service)] = address
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
	address, err := b.pool.choose(requested, held, b.others(key))
	if err != nil {
		return status, b.release(key), err
	}
	b.taken[key] = address
	return statusWith(address), had && held != address, nil
}

// others are the addresses of all Services but one.
func (b *poolBalancer) others(key string) map[netip.Addr]bool {
	others := make(map[netip.Addr]bool, len(b.taken))
	for other, address := range b.taken {
		if other != key {
			others[address] = true
		}
	}
	return others
}

func (b *poolBalancer) release(key string) (had bool) {
	had = b.holds(key)
	delete(b.taken, key)
	return had
}

func (b *poolBalancer) holds(key string) bool {
	_, held := b.taken[key]
	return held
}
