package store

import "sync"

// encodings holds an item's bytes per media type. An item seldom has more than two, so a slice is enough.
type encodings struct {
	mu   sync.Mutex
	list []*encoding
}

type encoding struct {
	mediaType string
	once      sync.Once
	data      []byte
	err       error
}

// Encoded returns the object's bytes in a media type, made by encode on first use and kept with the item: a watch event
// is encoded once for all its watchers, and a list is a concatenation. The bytes are shared and must not be changed.
// mediaType is any string that stands for one way of encoding. encode must not change the object; it runs once even if it
// fails, and its error is kept too.
func (i *Item) Encoded(mediaType string, encode func(Object) ([]byte, error)) ([]byte, error) {
	e := i.encodings.get(mediaType)
	e.once.Do(func() { e.data, e.err = encode(i.Object) })
	return e.data, e.err
}

func (e *encodings) get(mediaType string) *encoding {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, known := range e.list {
		if known.mediaType == mediaType {
			return known
		}
	}
	added := &encoding{mediaType: mediaType}
	e.list = append(e.list, added)
	return added
}
