package apiserver

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// protobufMagic begins each protobuf body: Kubernetes' envelope is this and a runtime.Unknown.
const protobufMagic = "k8s\x00"

// protobufMessage is what every generated API type can do.
type protobufMessage interface {
	Marshal() ([]byte, error)
}

// encodeObject returns a whole body: for protobuf with its envelope, for JSON with a line end. The object's TypeMeta
// must be set.
func encodeObject(obj runtime.Object, format outputFormat) ([]byte, error) {
	switch format.mediaType {
	case mediaProtobuf:
		raw, err := encodeMessage(obj)
		if err != nil {
			return nil, err
		}
		return protobufEnvelope(obj.GetObjectKind().GroupVersionKind(), raw), nil
	case mediaYAML:
		return yaml.Marshal(obj)
	default:
		raw, err := json.Marshal(obj)
		if err != nil {
			return nil, err
		}
		return finishJSON(raw, format)
	}
}

// finishJSON ends a JSON body with a line end, indented if the client wants it so.
func finishJSON(raw []byte, format outputFormat) ([]byte, error) {
	if !format.pretty {
		return append(raw, '\n'), nil
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		return nil, err
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// encodeMessage is the object's protobuf message without the envelope.
func encodeMessage(obj runtime.Object) ([]byte, error) {
	message, ok := obj.(protobufMessage)
	if !ok {
		return nil, fmt.Errorf("encode %T: not a protobuf message", obj)
	}
	return message.Marshal()
}

// protobufEnvelope wraps a message as a runtime.Unknown: typeMeta = 1, raw = 2, contentEncoding = 3, contentType = 4.
func protobufEnvelope(kind schema.GroupVersionKind, raw []byte) []byte {
	apiVersion, name := kind.ToAPIVersionAndKind()
	var typeMeta []byte
	typeMeta = appendBytesField(typeMeta, 1, []byte(apiVersion))
	typeMeta = appendBytesField(typeMeta, 2, []byte(name))
	body := make([]byte, 0, len(protobufMagic)+len(typeMeta)+len(raw)+16)
	body = append(body, protobufMagic...)
	body = appendBytesField(body, 1, typeMeta)
	body = appendBytesField(body, 2, raw)
	body = appendBytesField(body, 3, nil)
	return appendBytesField(body, 4, nil)
}

func appendBytesField(to []byte, number protowire.Number, value []byte) []byte {
	to = protowire.AppendTag(to, number, protowire.BytesType)
	return protowire.AppendBytes(to, value)
}

// jsonList is a list's JSON body (without line end) put together from its items' bodies, whose TypeMeta, as
// in Kubernetes, is left out if they are typeMetaOf's.
func jsonList(kind schema.GroupVersionKind, meta metav1.ListMeta, itemKind schema.GroupVersionKind, items [][]byte) ([]byte, error) {
	metaJSON, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	itemPrefix := jsonTypeMeta(itemKind)
	size := len(metaJSON) + 128
	for _, item := range items {
		size += len(item) + 1
	}
	body := make([]byte, 0, size)
	body = append(body, jsonTypeMeta(kind)...)
	body = append(body, `"metadata":`...)
	body = append(body, metaJSON...)
	body = append(body, `,"items":[`...)
	for i, item := range items {
		if i > 0 {
			body = append(body, ',')
		}
		if rest, ok := bytes.CutPrefix(item, itemPrefix); ok {
			body = append(body, '{')
			item = rest
		}
		body = append(body, item...)
	}
	return append(body, "]}"...), nil
}

// jsonTypeMeta is how every object of a kind begins in JSON.
func jsonTypeMeta(kind schema.GroupVersionKind) []byte {
	apiVersion, name := kind.ToAPIVersionAndKind()
	return fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,`, name, apiVersion)
}

// protobufList is a list's protobuf body put together from its items' messages: metadata = 1, items = 2.
func protobufList(kind schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) ([]byte, error) {
	rawMeta, err := meta.Marshal()
	if err != nil {
		return nil, err
	}
	size := len(rawMeta) + 16
	for _, item := range items {
		size += len(item) + 8
	}
	raw := appendBytesField(make([]byte, 0, size), 1, rawMeta)
	for _, item := range items {
		raw = appendBytesField(raw, 2, item)
	}
	return protobufEnvelope(kind, raw), nil
}

// jsonWatchEvent is one line of a JSON watch stream; object is JSON without line end.
func jsonWatchEvent(event string, object []byte) []byte {
	frame := make([]byte, 0, len(object)+len(event)+32)
	frame = append(frame, `{"type":"`...)
	frame = append(frame, event...)
	frame = append(frame, `","object":`...)
	frame = append(frame, object...)
	return append(frame, "}\n"...)
}

// protobufWatchEvent is one frame of a protobuf watch stream: four bytes of length, then a bare
// meta/v1 WatchEvent (type = 1, object = 2, a RawExtension whose raw = 1 is the object with its envelope).
func protobufWatchEvent(event string, envelope []byte) []byte {
	frame := make([]byte, 4, len(envelope)+len(event)+32)
	frame = appendBytesField(frame, 1, []byte(event))
	inner := 1 + protowire.SizeBytes(len(envelope))
	frame = protowire.AppendTag(frame, 2, protowire.BytesType)
	frame = protowire.AppendVarint(frame, uint64(inner))
	frame = appendBytesField(frame, 1, envelope)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}
