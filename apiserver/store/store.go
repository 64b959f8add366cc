package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Options are the settings of Open. The zero value of each but Codec is usable.
type Options struct {
	// Codec turns durable objects into bytes for the disk. It must be set; see NewCodec.
	Codec Codec
	// Volatile says whether a resource is kept in memory only. nil: none is.
	Volatile func(schema.GroupResource) bool
	// History is how many changes of each resource are kept for watchers; it also bounds how far a watcher may fall
	// behind. 0: 1,000.
	History int
	// Snapshots is how many snapshots are kept for continue tokens. 0: 16.
	Snapshots int
	// LockTimeout is how long Open waits for another process to let go of the file. 0: one second.
	LockTimeout time.Duration
}

const (
	defaultHistory     = 1000
	defaultSnapshots   = 16
	defaultLockTimeout = time.Second
)

// Codec is how objects are written to the disk. Both functions are called concurrently.
type Codec struct {
	// Encode returns the object's bytes. It may set the object's TypeMeta and nothing else.
	Encode func(Object) ([]byte, error)
	// Decode makes an object of the bytes that Encode returned, with its TypeMeta set. It must not keep them.
	Decode func([]byte) (Object, error)
}

// Store holds all objects of a cluster. All methods may be called concurrently.
type Store struct {
	options   Options
	file      *file
	revisions *revisions
	durable   *lane
	volatile  *lane
	committer *committer
	kept      *snapshotCache

	closing sync.Once
	closed  error
}

// Open opens the store in the file at path, making it if there is none, and loads all objects. The error says what is
// wrong with the file and what to do: it is held by another server, damaged, or holds an object that cannot be decoded.
func Open(path string, options Options) (*Store, error) {
	if options.Codec.Encode == nil || options.Codec.Decode == nil {
		return nil, fmt.Errorf("open store %s: no codec", path)
	}
	if options.Volatile == nil {
		options.Volatile = func(schema.GroupResource) bool { return false }
	}
	if options.History <= 0 {
		options.History = defaultHistory
	}
	if options.Snapshots <= 0 {
		options.Snapshots = defaultSnapshots
	}
	if options.LockTimeout <= 0 {
		options.LockTimeout = defaultLockTimeout
	}
	file, content, err := openFile(path, options.Codec, options.LockTimeout)
	if err != nil {
		return nil, err
	}
	revisions := newRevisions(content.ceiling)
	s := &Store{
		options:   options,
		file:      file,
		revisions: revisions,
		durable:   newLane(revisions, options.History),
		volatile:  newLane(revisions, options.History),
		kept:      newSnapshotCache(options.Snapshots),
	}
	for _, item := range content.items {
		s.durable.load(item)
	}
	s.committer = newCommitter(s.durable, file, revisions)
	// Without room on the disk the store still serves reads; writes say why they cannot be done, and raise the ceiling
	// themselves when there is room again.
	if err := s.committer.raiseCeiling(context.Background()); err != nil {
		slog.Warn("store is open for reading only", "file", path, "cause", err)
	}
	return s, nil
}

// Close waits for the writes that have begun, ends all watchers with ErrClosed and closes the file. Writes after it
// get ErrClosed; reads still see the last state.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.committer.stop()
		s.durable.close()
		s.volatile.close()
		s.closed = s.file.close()
	})
	return s.closed
}

// Revision is the newest revision that any write has been given. A write of that revision may still be waiting for the
// disk: what a list shows is told by Snapshot.Revision.
func (s *Store) Revision() uint64 {
	return s.revisions.current()
}

// Get returns the object under the key, or ErrNotFound.
func (s *Store) Get(key Key) (*Item, error) {
	if item, ok := s.lane(key.Resource).get(key); ok {
		return item, nil
	}
	return nil, keyError(key, ErrNotFound)
}

func (s *Store) lane(resource schema.GroupResource) *lane {
	if s.options.Volatile(resource) {
		return s.volatile
	}
	return s.durable
}

func keyError(key Key, err error) error {
	if key.Namespace == "" {
		return fmt.Errorf("%s %q: %w", key.Resource, key.Name, err)
	}
	return fmt.Errorf("%s %q in namespace %q: %w", key.Resource, key.Name, key.Namespace, err)
}
