package store

import (
	"strings"

	"github.com/google/btree"
)

// index is the items of one resource, sorted by namespace and name. Clone costs nothing until one of the two is
// changed, so a published index is never changed: a batch works on a clone and publishes that.
type index = btree.BTreeG[*Item]

// indexDegree makes nodes of up to 31 items: a write to a clone copies one node per level, three at 10,000 items.
const indexDegree = 16

func newIndex() *index {
	return btree.NewG(indexDegree, func(a, b *Item) bool { return compareKeys(a.Key, b.Key) < 0 })
}

// compareKeys orders the keys of one resource.
func compareKeys(a, b Key) int {
	if order := strings.Compare(a.Namespace, b.Namespace); order != 0 {
		return order
	}
	return strings.Compare(a.Name, b.Name)
}
