package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What is on disk: bucket "meta" with the format and the ceiling of revisions, and bucket "objects" with a bucket for
// each resource ("deployments.apps") in which "namespace/name" holds one record.
//
//	record: CRC-32C of the rest (4 bytes), revision (8 bytes), both big endian; the object as Codec.Encode wrote it
//
// The revision stands before the object, not in it, so that objects can be encoded before they have one.
var (
	metaBucket    = []byte("meta")
	objectsBucket = []byte("objects")
	formatKey     = []byte("format")
	ceilingKey    = []byte("ceiling")
	format        = []byte("kubelite store 1")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

const recordHeader = 12

// file is the bbolt file. Its methods but close are called by one goroutine at a time.
type file struct {
	path  string
	db    *bbolt.DB
	codec Codec
	// doubtful are the keys of commits that failed: whether they reached the disk is not known.
	doubtful map[Key]struct{}
}

// content is all that a file holds.
type content struct {
	ceiling uint64
	items   []*Item
}

func openFile(path string, codec Codec, lockTimeout time.Duration) (*file, content, error) {
	_, statErr := os.Stat(path)
	f := &file{path: path, codec: codec, doubtful: map[Key]struct{}{}}
	err := guard(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
		return err
	})
	if err != nil {
		return nil, content{}, explainOpen(path, err)
	}
	var loaded content
	err = guard(f.prepare)
	if err == nil {
		err = guard(func() error { return f.db.View(func(tx *bbolt.Tx) error { return f.load(tx, &loaded) }) })
	}
	if err == nil && errors.Is(statErr, os.ErrNotExist) {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return nil, content{}, errors.Join(explainOpen(path, err), f.close())
	}
	return f, loaded, nil
}

// prepare makes the buckets of a new file, and refuses a file of something else.
func (f *file) prepare() error {
	var found []byte
	err := f.db.View(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(metaBucket); meta != nil {
			found = append(found, meta.Get(formatKey)...)
			return nil
		}
		if key, _ := tx.Cursor().First(); key != nil {
			return fmt.Errorf("%w: it is the file of another program", errFormat)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if found != nil {
		if string(found) != string(format) {
			return fmt.Errorf("%w: it says %q, this version reads %q", errFormat, found, format)
		}
		return nil
	}
	return f.db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucketIfNotExists(objectsBucket); err != nil {
			return err
		}
		return meta.Put(formatKey, format)
	})
}

func (f *file) load(tx *bbolt.Tx, into *content) error {
	if value := tx.Bucket(metaBucket).Get(ceilingKey); value != nil {
		if len(value) != 8 {
			return fmt.Errorf("%w: the revision ceiling has %d bytes", errDamaged, len(value))
		}
		into.ceiling = binary.BigEndian.Uint64(value)
	}
	objects := tx.Bucket(objectsBucket)
	if objects == nil {
		return fmt.Errorf("%w: it has no objects bucket", errDamaged)
	}
	return objects.ForEachBucket(func(name []byte) error {
		resource := schema.ParseGroupResource(string(name))
		return objects.Bucket(name).ForEach(func(id, record []byte) error {
			item, err := f.decode(resource, string(id), record)
			if err != nil {
				return err
			}
			into.items = append(into.items, item)
			into.ceiling = max(into.ceiling, item.Revision)
			return nil
		})
	})
}

func (f *file) decode(resource schema.GroupResource, id string, record []byte) (*Item, error) {
	namespace, name, ok := strings.Cut(id, "/")
	if !ok || len(record) < recordHeader {
		return nil, fmt.Errorf("%w: record %q of %s is cut short", errDamaged, id, resource)
	}
	key := Key{Resource: resource, Namespace: namespace, Name: name}
	if crc32.Checksum(record[4:], castagnoli) != binary.BigEndian.Uint32(record) {
		return nil, keyError(key, fmt.Errorf("%w: checksum does not match", errDamaged))
	}
	revision := binary.BigEndian.Uint64(record[4:])
	object, err := f.codec.Decode(record[recordHeader:])
	if err != nil {
		return nil, keyError(key, fmt.Errorf("%w: %w", errUndecodable, err))
	}
	if object.GetNamespace() != namespace || object.GetName() != name {
		return nil, keyError(key, fmt.Errorf("%w: the object calls itself %s/%s", errDamaged, object.GetNamespace(), object.GetName()))
	}
	object.SetResourceVersion(strconv.FormatUint(revision, 10))
	return &Item{Key: key, Revision: revision, Object: object}, nil
}

// commit writes a batch in one transaction. published tells what readers see: keys in doubt are first made equal to it,
// so that what the disk holds after a restart is what was last acknowledged.
func (f *file) commit(writes []*write, published func(Key) (*Item, bool)) error {
	err := f.update(func(tx *bbolt.Tx) error {
		objects := tx.Bucket(objectsBucket)
		for key := range f.doubtful {
			if err := f.restore(objects, key, published); err != nil {
				return err
			}
		}
		for _, w := range writes {
			if err := put(objects, w.key, w.item.Revision, w.encoded); err != nil {
				return fmt.Errorf("write %s: %w", keyPath(w.key), err)
			}
		}
		return nil
	})
	if err != nil {
		for _, w := range writes {
			f.doubtful[w.key] = struct{}{}
		}
		return err
	}
	clear(f.doubtful)
	return nil
}

func (f *file) restore(objects *bbolt.Bucket, key Key, published func(Key) (*Item, bool)) error {
	item, found := published(key)
	if !found {
		return put(objects, key, 0, nil)
	}
	object := item.Object.DeepCopyObject().(Object)
	object.SetResourceVersion("")
	encoded, err := f.codec.Encode(object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", keyPath(key), err)
	}
	return put(objects, key, item.Revision, encoded)
}

func (f *file) writeCeiling(ceiling uint64) error {
	return f.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(ceilingKey, binary.BigEndian.AppendUint64(nil, ceiling))
	})
}

func (f *file) update(change func(*bbolt.Tx) error) error {
	if err := guard(func() error { return f.db.Update(change) }); err != nil {
		return fmt.Errorf("write to the store %s: %w", f.path, err)
	}
	return nil
}

func (f *file) close() error {
	if f.db == nil {
		return nil
	}
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("close store %s: %w", f.path, err)
	}
	return nil
}

// put stores a record, or removes it if encoded is nil.
func put(objects *bbolt.Bucket, key Key, revision uint64, encoded []byte) error {
	id := []byte(key.Namespace + "/" + key.Name)
	name := []byte(key.Resource.String())
	if encoded == nil {
		if bucket := objects.Bucket(name); bucket != nil {
			return bucket.Delete(id)
		}
		return nil
	}
	bucket, err := objects.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	record := make([]byte, recordHeader, recordHeader+len(encoded))
	binary.BigEndian.PutUint64(record[4:], revision)
	record = append(record, encoded...)
	binary.BigEndian.PutUint32(record, crc32.Checksum(record[4:], castagnoli))
	return bucket.Put(id, record)
}

// guard turns a panic into an error. bbolt panics on pages that make no sense, and the machine raises a fault where a
// mapped file has become shorter or cannot be read.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errDamaged, cause)
		}
	}()
	return do()
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

func keyPath(key Key) string {
	return key.Resource.String() + " " + key.Namespace + "/" + key.Name
}
