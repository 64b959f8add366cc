package store

import (
	"fmt"
	"iter"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Snapshot is all objects of a resource, or of one namespace of it, as they were at Revision. It never changes and costs
// nothing to take. A watch from Revision delivers exactly what happened after it.
type Snapshot struct {
	Resource  schema.GroupResource
	Namespace string // empty: all
	Revision  uint64

	tree *index // nil: empty
	kept *snapshotCache
}

// List returns the newest snapshot of a resource. An empty namespace means all.
func (s *Store) List(resource schema.GroupResource, namespace string) Snapshot {
	tree, revision := s.lane(resource).view(resource)
	return Snapshot{Resource: resource, Namespace: namespace, Revision: revision, tree: tree, kept: s.kept}
}

// ListAt returns the snapshot that Page was called on at a revision, for continue tokens; or any other with the same
// content. ErrGone is returned when it is no longer kept, ErrFuture when revision is later than any given out.
func (s *Store) ListAt(resource schema.GroupResource, namespace string, revision uint64) (Snapshot, error) {
	if revision > s.revisions.current() {
		return Snapshot{}, fmt.Errorf("list %s at %d: %w", resource, revision, ErrFuture)
	}
	tree, ok := s.kept.get(resource, revision)
	if !ok {
		tree, ok = s.lane(resource).unchangedSince(resource, revision)
	}
	if !ok {
		return Snapshot{}, fmt.Errorf("list %s at %d: %w", resource, revision, ErrGone)
	}
	return Snapshot{Resource: resource, Namespace: namespace, Revision: revision, tree: tree, kept: s.kept}, nil
}

// unchangedSince returns the published index if the resource has not changed after a revision.
func (l *lane) unchangedSince(resource schema.GroupResource, revision uint64) (*index, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision > l.revisionLocked() {
		return nil, false
	}
	_, changed := l.historyLocked(resource).newest()
	return l.indexes[resource], changed <= revision
}

// All yields the items in order of namespace and name.
func (s Snapshot) All() iter.Seq[*Item] {
	return func(yield func(*Item) bool) { s.ascend(Key{Namespace: s.Namespace}, yield) }
}

// Items returns all items in order of namespace and name. The slice is the caller's.
func (s Snapshot) Items() []*Item {
	var items []*Item
	if s.tree != nil && s.Namespace == "" {
		items = make([]*Item, 0, s.tree.Len())
	}
	for item := range s.All() {
		items = append(items, item)
	}
	return items
}

// Page returns up to limit items whose key comes after the given one (the zero Key: from the first; limit 0 or less: all)
// and how many come after those. While there are more, the store keeps the snapshot for ListAt, until newer
// ones have taken its place. after need not exist.
func (s Snapshot) Page(after Key, limit int) (items []*Item, remaining int) {
	from := after
	if s.Namespace != "" && after.Namespace < s.Namespace {
		from = Key{Namespace: s.Namespace}
	}
	s.ascend(from, func(item *Item) bool {
		switch {
		case compareKeys(item.Key, after) <= 0:
		case limit <= 0 || len(items) < limit:
			items = append(items, item)
		default:
			remaining++
		}
		return true
	})
	if remaining > 0 {
		s.kept.put(s.Resource, s.Revision, s.tree)
	}
	return items, remaining
}

// Keep has the store keep the snapshot for ListAt, as Page does: for a caller that pages by filtering All.
func (s Snapshot) Keep() {
	s.kept.put(s.Resource, s.Revision, s.tree)
}

func (s Snapshot) ascend(from Key, yield func(*Item) bool) {
	if s.tree == nil {
		return
	}
	s.tree.AscendGreaterOrEqual(&Item{Key: from}, func(item *Item) bool {
		if s.Namespace != "" && item.Key.Namespace != s.Namespace {
			return false
		}
		return yield(item)
	})
}
