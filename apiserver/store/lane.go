package store

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// lane is a set of resources whose writes are published in one order. There are two, the durable and the volatile, so that
// a heartbeat never waits for the disk. They share the revision counter, not the order between them.
type lane struct {
	revisions   *revisions
	historySize int
	// floor is the revision at which the store was opened: older changes are not known.
	floor uint64

	// writing is held from begin to publish or abandon: one batch at a time.
	writing sync.Mutex

	mu        sync.RWMutex
	indexes   map[schema.GroupResource]*index
	histories map[schema.GroupResource]*history
	// busy is true while a batch is being written; horizon is then the newest revision before that batch.
	busy    bool
	horizon uint64
	ended   bool
}

func newLane(revisions *revisions, historySize int) *lane {
	return &lane{
		revisions:   revisions,
		historySize: historySize,
		floor:       revisions.current(),
		indexes:     map[schema.GroupResource]*index{},
		histories:   map[schema.GroupResource]*history{},
	}
}

// load adds an item found on disk, before the store is used.
func (l *lane) load(item *Item) {
	tree := l.indexes[item.Key.Resource]
	if tree == nil {
		tree = newIndex()
		l.indexes[item.Key.Resource] = tree
	}
	tree.ReplaceOrInsert(item)
}

func (l *lane) get(key Key) (*Item, bool) {
	l.mu.RLock()
	tree := l.indexes[key.Resource]
	l.mu.RUnlock()
	if tree == nil {
		return nil, false
	}
	return tree.Get(&Item{Key: key})
}

// revisionLocked is the newest revision of which it is known that all this lane's changes up to it are published and
// all later ones are not. It advances with the other lane's writes too. l.mu must be held.
func (l *lane) revisionLocked() uint64 {
	if l.busy {
		return l.horizon
	}
	return l.revisions.current()
}

// view returns the published index of a resource (nil if there is none) and the revision that it shows.
func (l *lane) view(resource schema.GroupResource) (*index, uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.indexes[resource], l.revisionLocked()
}

// historyLocked returns the changes of a resource. l.mu must be held for writing.
func (l *lane) historyLocked(resource schema.GroupResource) *history {
	h := l.histories[resource]
	if h == nil {
		h = newHistory(l.floor, l.historySize)
		if l.ended {
			h.end()
		}
		l.histories[resource] = h
	}
	return h
}

// begin starts a batch. It must be ended by publish or abandon.
func (l *lane) begin() *batch {
	l.writing.Lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.horizon, l.busy = l.revisions.current(), true
	return &batch{lane: l, indexes: map[schema.GroupResource]*index{}}
}

// publish makes a batch visible to readers and watchers, all of it at once.
func (l *lane) publish(b *batch) {
	l.mu.Lock()
	for resource, tree := range b.indexes {
		l.indexes[resource] = tree
	}
	woken := map[*history]bool{}
	for _, event := range b.events {
		h := l.historyLocked(event.Item.Key.Resource)
		h.append(event)
		woken[h] = true
	}
	l.busy = false
	l.mu.Unlock()
	l.writing.Unlock()
	for h := range woken {
		h.wake()
	}
}

// abandon ends a batch that is not to be seen.
func (l *lane) abandon() {
	l.mu.Lock()
	l.busy = false
	l.mu.Unlock()
	l.writing.Unlock()
}

// close ends all watchers.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, h := range l.histories {
		h.end()
	}
}
