package store

import (
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// ErrExists is returned by Create when the key is taken.
	ErrExists = errors.New("object already exists")
	// ErrNotFound is returned when there is no object under the key.
	ErrNotFound = errors.New("object not found")
	// ErrConflict is returned by Update and Delete when the stored revision is not the expected one.
	ErrConflict = errors.New("object has been modified")
	// ErrGone is returned by Watch when events after the asked-for revision are no longer kept.
	ErrGone = errors.New("revision is too old")
	// ErrFuture is returned by Watch and ListAt when the asked-for revision is later than the store's.
	ErrFuture = errors.New("revision is too large")
	// ErrSlow is the reason that a Watcher ended because its reader fell behind by more changes than are kept.
	ErrSlow = errors.New("watcher is too slow")
	// ErrClosed is returned by writes to a closed store, and is the reason that its Watchers ended.
	ErrClosed = errors.New("store is closed")
)

// Object is what the store keeps.
type Object interface {
	runtime.Object
	metav1.Object
}

// Key names one object. Namespace is empty for cluster-scoped resources.
type Key struct {
	Resource  schema.GroupResource
	Namespace string
	Name      string
}

// Item is one version of one object. It is immutable: Object, with its resourceVersion set to Revision, is shared by
// all readers and must be deep-copied before it is changed.
type Item struct {
	Key      Key
	Revision uint64
	Object   Object
	// encoded bytes per media type, filled on first use; see Item.Encoded
	encodings encodings
}

// EventType is what happened to an Item.
type EventType string

const (
	Added    EventType = "ADDED"
	Modified EventType = "MODIFIED"
	Deleted  EventType = "DELETED"
)

// Event is one committed change. Revision is the revision of the change; for Deleted, Item is the object's last state
// with the resourceVersion of the deletion. Previous is the state before a Modified or Deleted, else nil.
type Event struct {
	Type     EventType
	Revision uint64
	Item     *Item
	Previous *Item
}
