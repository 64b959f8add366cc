package store

import (
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// write is one Create, Update or Delete.
type write struct {
	verb verb
	key  Key
	// expected is the revision that the stored object must have; 0: any.
	expected uint64
	// object is the store's own copy; nil for a Delete.
	object Object
	// encoded is the object for the disk, without its resourceVersion; nil for a Delete and for volatile resources.
	encoded []byte
	// companions are written after this write, if it was let pass. They have none of their own.
	companions []*write

	item *Item
	err  error
}

type verb int

const (
	create verb = iota
	update
	remove
	// set and drop are what companions do: they take what is there as it is.
	set
	drop
)

// batch is a set of writes that become visible together. Each write sees the ones before it.
type batch struct {
	lane    *lane
	indexes map[schema.GroupResource]*index
	events  []Event
}

// index returns the batch's own copy of a resource's index.
func (b *batch) index(resource schema.GroupResource) *index {
	tree := b.indexes[resource]
	if tree == nil {
		b.lane.mu.RLock()
		published := b.lane.indexes[resource]
		b.lane.mu.RUnlock()
		if published == nil {
			tree = newIndex()
		} else {
			tree = published.Clone()
		}
		b.indexes[resource] = tree
	}
	return tree
}

// check compares a write with the newest state, this batch's included.
func (b *batch) check(w *write) (previous *Item, err error) {
	previous, found := b.index(w.key.Resource).Get(&Item{Key: w.key})
	switch {
	case w.verb == create && found:
		return nil, keyError(w.key, ErrExists)
	case w.verb == create, w.verb == set && !found, w.verb == drop && !found:
		return nil, nil
	case !found:
		return nil, keyError(w.key, ErrNotFound)
	case w.expected != 0 && w.expected != previous.Revision:
		return nil, keyError(w.key, ErrConflict)
	}
	return previous, nil
}

// apply does one write that check let pass, at a revision.
func (b *batch) apply(w *write, previous *Item, revision uint64) {
	object := w.object
	if w.verb == remove || w.verb == drop {
		object = previous.Object.DeepCopyObject().(Object)
	}
	object.SetResourceVersion(strconv.FormatUint(revision, 10))
	w.item = &Item{Key: w.key, Revision: revision, Object: object}
	event := Event{Revision: revision, Item: w.item, Previous: previous}
	tree := b.index(w.key.Resource)
	switch {
	case w.verb == remove, w.verb == drop:
		event.Type = Deleted
		tree.Delete(w.item)
	case previous == nil:
		event.Type = Added
		tree.ReplaceOrInsert(w.item)
	default:
		event.Type = Modified
		tree.ReplaceOrInsert(w.item)
	}
	b.events = append(b.events, event)
}
