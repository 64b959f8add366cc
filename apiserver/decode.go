package apiserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/kubelite/kubelite/apiserver/registry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// bodyLimit is the largest accepted body in bytes, as in Kubernetes.
const bodyLimit = 3 << 20

// readBody reads the whole request body.
func (c *call) readBody() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, bodyLimit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", bodyLimit))
	case err != nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("read request body: %v", err))
	default:
		return body, nil
	}
}

// decodeBody reads the request body into a new object of the kind. Its TypeMeta is set.
func (c *call) decodeBody(kind schema.GroupVersionKind, into runtime.Object, validation string) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	mediaType, err := requestMediaType(c.r)
	if err != nil {
		return err
	}
	return c.decode(body, mediaType, kind, into, validation)
}

// readPosted reads what a POST to a subresource of another kind brings: its options, the body into a new object of the kind, and how
// to answer.
func (c *call) readPosted(kind schema.GroupVersionKind, into runtime.Object) (options writeOptions, answer outputFormat, err error) {
	if options, err = c.createOptions(); err != nil {
		return options, answer, err
	}
	if answer, err = c.format(); err != nil {
		return options, answer, err
	}
	return options, answer, c.decodeBody(kind, into, options.fieldValidation)
}

// decode reads an object of the kind. validation says what becomes of unknown and duplicate fields: an error, a
// warning each, or nothing.
func (c *call) decode(body []byte, mediaType string, kind schema.GroupVersionKind, into runtime.Object, validation string) error {
	info, ok := runtime.SerializerInfoForMediaType(registry.Codecs.SupportedMediaTypes(), mediaType)
	if !ok {
		return unsupportedMediaTypeError(acceptedMedia)
	}
	serializer := info.Serializer
	if validation != metav1.FieldValidationIgnore {
		serializer = info.StrictSerializer
	}
	decoded, found, err := serializer.Decode(body, &kind, into)
	if strict, isStrict := runtime.AsStrictDecodingError(err); isStrict && decoded != nil && validation == metav1.FieldValidationWarn {
		for _, problem := range strict.Errors() {
			c.warn(problem.Error())
		}
		err = nil
	}
	if err != nil {
		return decodeError(err, found, kind, body)
	}
	if found.GroupVersion() != kind.GroupVersion() {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)",
			found.GroupVersion(), kind.GroupVersion()))
	}
	if decoded != into {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s", found.Kind, found.Version, kind.Kind))
	}
	into.GetObjectKind().SetGroupVersionKind(kind)
	return nil
}

// decodeError says in Kubernetes' words why a body is not an object of the kind.
func decodeError(err error, found *schema.GroupVersionKind, kind schema.GroupVersionKind, body []byte) error {
	if found != nil && found.Kind != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", found.Kind, found.Version, kind.Kind, err))
	}
	const shown = 30
	summary := string(body)
	if len(summary) > shown {
		summary = summary[:shown] + " ..."
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", kind.Kind, err, fmt.Sprintf("%q", summary)))
}
