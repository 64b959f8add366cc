package ipvs

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/proxy/plan"
)

// claims holds which Services want which object of the kernel. Where several want the same, the first by name has it, in
// whatever order they came.
type claims[K comparable, V any] map[K][]claim[V]

type claim[V any] struct {
	owner types.NamespacedName
	value V
}

// get is the object as it should be; false if nobody wants it.
func (c claims[K, V]) get(key K) (V, bool) {
	if all := c[key]; len(all) > 0 {
		return all[0].value, true
	}
	var none V
	return none, false
}

// put makes owner want exactly this value of key.
func (c claims[K, V]) put(owner types.NamespacedName, key K, value V) {
	all := c[key]
	i, found := slices.BinarySearchFunc(all, owner, func(one claim[V], owner types.NamespacedName) int {
		return plan.CompareNames(one.owner, owner)
	})
	if found {
		all[i].value = value
		return
	}
	c[key] = slices.Insert(all, i, claim[V]{owner, value})
}

// remove ends what owner wants of key.
func (c claims[K, V]) remove(owner types.NamespacedName, key K) {
	all := slices.DeleteFunc(c[key], func(one claim[V]) bool { return one.owner == owner })
	if len(all) == 0 {
		delete(c, key)
		return
	}
	c[key] = all
}

// replace makes owner want next instead of former.
func (c claims[K, V]) replace(owner types.NamespacedName, former, next map[K]V) {
	for key := range former {
		if _, stays := next[key]; !stays {
			c.remove(owner, key)
		}
	}
	for key, value := range next {
		c.put(owner, key, value)
	}
}
