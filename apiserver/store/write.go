package store

import (
	"context"
	"errors"
	"fmt"
)

// errVolatileCompany is returned for a companion of, or that is, a volatile object: their writes share no transaction.
var errVolatileCompany = errors.New("volatile objects are written alone")

// Companion is a change that is made in the same transaction as another write, and only if that is: of a Service and
// its IPAddresses readers, watchers and the disk have all or nothing. Its resource must not be volatile.
type Companion struct {
	Key Key
	// Object replaces what is under the key, or is new there; nil removes what is there. Neither can be refused.
	Object Object
}

// Create stores a new object under the key and returns it with its resourceVersion. The object is copied; the caller's
// is not changed. ErrExists is returned when the key is taken. When ctx ends before the write has begun, nothing is
// written and the context's error is returned; a write that has begun is finished and its outcome returned.
func (s *Store) Create(ctx context.Context, key Key, object Object, companions ...Companion) (*Item, error) {
	return s.write(ctx, &write{verb: create, key: key}, object, companions)
}

// Update replaces the object under the key if its revision is the expected one; 0 expects any. ErrNotFound and
// ErrConflict are returned when there is none or another. Copies and ctx are as in Create.
func (s *Store) Update(ctx context.Context, key Key, expected uint64, object Object, companions ...Companion) (*Item, error) {
	return s.write(ctx, &write{verb: update, key: key, expected: expected}, object, companions)
}

// Delete removes the object under the key if its revision is the expected one; 0 expects any. The Item returned is the
// object's last state with the resourceVersion of the deletion. ErrNotFound, ErrConflict and ctx are as in Update.
func (s *Store) Delete(ctx context.Context, key Key, expected uint64, companions ...Companion) (*Item, error) {
	return s.write(ctx, &write{verb: remove, key: key, expected: expected}, nil, companions)
}

// write copies and encodes in the caller's goroutine, so that the committer has little to do for each write.
func (s *Store) write(ctx context.Context, w *write, object Object, companions []Companion) (*Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, keyError(w.key, err)
	}
	if s.options.Volatile(w.key.Resource) {
		if len(companions) > 0 {
			return nil, keyError(w.key, errVolatileCompany)
		}
		w.setObject(object)
		return s.writeVolatile(ctx, w)
	}
	if err := s.encode(w, object); err != nil {
		return nil, err
	}
	for _, companion := range companions {
		if s.options.Volatile(companion.Key.Resource) {
			return nil, keyError(companion.Key, errVolatileCompany)
		}
		with := &write{verb: set, key: companion.Key}
		if companion.Object == nil {
			with.verb = drop
		}
		if err := s.encode(with, companion.Object); err != nil {
			return nil, err
		}
		w.companions = append(w.companions, with)
	}
	return s.committer.commit(ctx, w)
}

// setObject gives the write its own copy; nil is none.
func (w *write) setObject(object Object) {
	if object != nil {
		w.object = object.DeepCopyObject().(Object)
		w.object.SetResourceVersion("")
	}
}

func (s *Store) encode(w *write, object Object) error {
	w.setObject(object)
	if w.object == nil {
		return nil
	}
	encoded, err := s.options.Codec.Encode(w.object)
	if err != nil {
		return fmt.Errorf("encode for the store: %w", keyError(w.key, err))
	}
	w.encoded = encoded
	return nil
}

func (s *Store) writeVolatile(ctx context.Context, w *write) (*Item, error) {
	for {
		exhausted, low := s.tryVolatile(w)
		if exhausted {
			if err := s.committer.raiseCeiling(ctx); err != nil {
				return nil, keyError(w.key, err)
			}
			continue
		}
		if low {
			s.committer.remindOfCeiling()
		}
		return w.item, w.err
	}
}

// tryVolatile does the write at once. exhausted means that nothing was done because the ceiling must be raised first,
// low that it should be raised soon.
func (s *Store) tryVolatile(w *write) (exhausted, low bool) {
	b := s.volatile.begin()
	if s.committer.stopped() {
		s.volatile.abandon()
		w.err = keyError(w.key, ErrClosed)
		return false, false
	}
	previous, err := b.check(w)
	if err != nil {
		s.volatile.abandon()
		w.err = err
		return false, false
	}
	revision, ok, low := s.revisions.next()
	if !ok {
		s.volatile.abandon()
		return true, true
	}
	b.apply(w, previous, revision)
	s.volatile.publish(b)
	return false, low
}
