package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Object is an API object with its metadata.
type Object = registry.Object

// call is one request to one resource. It is used by one goroutine.
type call struct {
	*Server
	w         http.ResponseWriter
	r         *http.Request
	resource  *resource
	namespace string
	name      string
	warned    sets.Set[string]
}

// key is where the call's object is stored.
func (c *call) key() store.Key { return c.resource.key(c.namespace, c.name) }

// warn sends a Warning header; the same text is sent once. It must come before the answer.
func (c *call) warn(text string) {
	if c.warned.Has(text) {
		return
	}
	header, err := utilnet.NewWarningHeader(299, "-", text)
	if err != nil {
		return // the text cannot be put into a header
	}
	if c.warned == nil {
		c.warned = sets.New[string]()
	}
	c.warned.Insert(text)
	c.w.Header().Add("Warning", header)
}

// format negotiates the answer's form.
func (c *call) format(transformations ...string) (outputFormat, error) {
	return negotiate(c.r, transformations)
}

// resource is a served kind together with the kind that it is stored as (itself, but for events.k8s.io).
type resource struct {
	*registry.Kind
	stored *registry.Kind
}

func newResource(kind *registry.Kind) *resource {
	if kind.StoredAs != nil {
		return &resource{Kind: kind, stored: kind.StoredAs.Kind}
	}
	return &resource{Kind: kind, stored: kind}
}

func (res *resource) key(namespace, name string) store.Key {
	return store.Key{Resource: res.stored.GroupResource(), Namespace: namespace, Name: name}
}

// wire is the form of a stored object that clients are sent, with its TypeMeta. The stored object is not changed, but
// may be what is returned.
func (res *resource) wire(stored Object) Object {
	if res.StoredAs == nil {
		return stored
	}
	obj := res.StoredAs.FromStored(stored)
	obj.GetObjectKind().SetGroupVersionKind(res.GroupVersionKind)
	return obj
}

// internal is the stored form of what a client sent.
func (res *resource) internal(wire Object) Object {
	if res.StoredAs != nil {
		wire = res.StoredAs.ToStored(wire)
	}
	wire.GetObjectKind().SetGroupVersionKind(res.stored.GroupVersionKind)
	return wire
}

// itemJSON is the item as JSON without line end.
func (res *resource) itemJSON(item *store.Item) ([]byte, error) {
	return item.Encoded(res.encodingName(mediaJSON), func(obj store.Object) ([]byte, error) {
		return json.Marshal(res.wire(obj))
	})
}

// itemMessage is the item as a protobuf message without envelope.
func (res *resource) itemMessage(item *store.Item) ([]byte, error) {
	return item.Encoded(res.encodingName(mediaProtobuf), func(obj store.Object) ([]byte, error) {
		return encodeMessage(res.wire(obj))
	})
}

// encodingName keeps the encodings of a kind stored as another apart from that other's.
func (res *resource) encodingName(mediaType string) string {
	if res.StoredAs == nil {
		return mediaType
	}
	return res.GroupVersionKind.Group + ";" + mediaType
}

// writeItem answers with one stored object.
func (c *call) writeItem(code int, format outputFormat, item *store.Item) error {
	switch {
	case format.as == asTable:
		return c.writeTable(code, format, []*store.Item{item}, "", nil)
	case format.metadataOnly():
		metadata := metadataOf(c.resource, item.Object)
		writeObject(c.w, c.r, code, format, metadata)
		return nil
	case format.mediaType == mediaProtobuf:
		raw, err := c.resource.itemMessage(item)
		if err != nil {
			return fmt.Errorf("encode %s: %w", item.Key.Name, err)
		}
		writeBody(c.w, c.r, code, mediaProtobuf, protobufEnvelope(c.resource.GroupVersionKind, raw))
		return nil
	case format.mediaType == mediaJSON && !format.pretty:
		raw, err := c.resource.itemJSON(item)
		if err != nil {
			return fmt.Errorf("encode %s: %w", item.Key.Name, err)
		}
		body := make([]byte, 0, len(raw)+1)
		writeBody(c.w, c.r, code, mediaJSON, append(append(body, raw...), '\n'))
		return nil
	default:
		writeObject(c.w, c.r, code, format, c.resource.wire(item.Object))
		return nil
	}
}
