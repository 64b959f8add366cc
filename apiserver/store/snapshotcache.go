package store

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// snapshotCache holds the indexes that continue tokens name, the last used last. An index shares what has not changed
// with the newest one.
type snapshotCache struct {
	size int

	mu      sync.Mutex
	entries []keptSnapshot
}

type keptSnapshot struct {
	resource schema.GroupResource
	revision uint64
	tree     *index
}

func newSnapshotCache(size int) *snapshotCache {
	return &snapshotCache{size: size}
}

func (c *snapshotCache) get(resource schema.GroupResource, revision uint64) (*index, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.find(resource, revision)
	if at < 0 {
		return nil, false
	}
	entry := c.entries[at]
	c.entries = append(slices.Delete(c.entries, at, at+1), entry)
	return entry.tree, true
}

// put adds an index, or marks it as used, and drops the one unused for longest where there are too many.
func (c *snapshotCache) put(resource schema.GroupResource, revision uint64, tree *index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.find(resource, revision); at >= 0 {
		c.entries = slices.Delete(c.entries, at, at+1)
	} else if len(c.entries) == c.size {
		c.entries = slices.Delete(c.entries, 0, 1)
	}
	c.entries = append(c.entries, keptSnapshot{resource: resource, revision: revision, tree: tree})
}

func (c *snapshotCache) find(resource schema.GroupResource, revision uint64) int {
	return slices.IndexFunc(c.entries, func(e keptSnapshot) bool {
		return e.resource == resource && e.revision == revision
	})
}
