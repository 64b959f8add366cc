package store

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// NewCodec stores objects as Kubernetes stores them in etcd: protobuf of the versioned type in the "k8s\x00" envelope.
// All types must be in the scheme, in one version each, and have protobuf methods.
func NewCodec(scheme *runtime.Scheme) Codec {
	serializer := protobuf.NewSerializer(scheme, scheme)
	return Codec{
		Encode: func(object Object) ([]byte, error) {
			kinds, _, err := scheme.ObjectKinds(object)
			if err != nil {
				return nil, err
			}
			object.GetObjectKind().SetGroupVersionKind(kinds[0])
			var buffer bytes.Buffer
			if err := serializer.Encode(object, &buffer); err != nil {
				return nil, err
			}
			return buffer.Bytes(), nil
		},
		Decode: func(data []byte) (Object, error) {
			decoded, kind, err := serializer.Decode(data, nil, nil)
			if err != nil {
				return nil, err
			}
			object, ok := decoded.(Object)
			if !ok {
				return nil, fmt.Errorf("%s is not an object with metadata", kind)
			}
			object.GetObjectKind().SetGroupVersionKind(*kind)
			return object, nil
		},
	}
}
