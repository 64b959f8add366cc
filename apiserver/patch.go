package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/kubelite/kubelite/apiserver/registry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// patchTypes are the accepted forms of a patch.
var patchTypes = []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType}

// longestJSONPatch is the most operations of a JSON patch that Kubernetes accepts.
const longestJSONPatch = 10000

// Each "copy" of a JSON patch can double the object: without a limit a patch of a few kilobytes fills the memory. Kubernetes
// has the same limit.
func init() { jsonpatch.AccumulatedCopySizeLimit = bodyLimit }

// patch answers PATCH of one object.
func (c *call) patch() error { return c.patchWith("", nil) }

func (c *call) patchWith(subresource string, strategy *registry.StatusStrategy) error {
	asked, err := c.readPatch()
	if err != nil {
		return err
	}
	format, err := c.format(asTable, asMetadata)
	if err != nil {
		return err
	}
	ch := change{options: asked.options, subresource: subresource, strategy: strategy}
	if asked.kind == types.ApplyYAMLPatchType {
		ch.create, ch.applied = subresource == "", true
		ch.next = func(current Object) (Object, error) { return c.apply(asked, subresource, current) }
	} else {
		ch.next = func(current Object) (Object, error) { return c.patched(asked, current) }
	}
	item, created, err := c.modify(ch)
	if err != nil {
		return err
	}
	return c.writeItem(createdOr(http.StatusOK, created), format, item)
}

// patchRequest is a patch as a client sent it.
type patchRequest struct {
	kind    types.PatchType
	body    []byte
	options writeOptions
}

func (c *call) readPatch() (patchRequest, error) {
	mediaType, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	kind := types.PatchType(mediaType)
	if err != nil || !slices.Contains(patchTypes, kind) {
		names := make([]string, len(patchTypes))
		for i, known := range patchTypes {
			names[i] = string(known)
		}
		return patchRequest{}, unsupportedMediaTypeError(strings.Join(names, ", "))
	}
	options, err := c.patchOptions(kind)
	if err != nil {
		return patchRequest{}, err
	}
	body, err := c.readBody()
	return patchRequest{kind: kind, body: body, options: options}, err
}

// patched applies a JSON, merge or strategic merge patch to an object.
func (c *call) patched(patch patchRequest, current Object) (Object, error) {
	wire := c.resource.wire(current)
	next := c.resource.New()
	if err := c.patchObject(patch, wire, next, c.resource.GroupVersionKind); err != nil {
		return nil, err
	}
	if next.GetName() == "" {
		next.SetName(c.name)
	}
	if err := c.matchRequest(next); err != nil {
		return nil, err
	}
	return c.resource.internal(next), nil
}

// patchObject reads into next what the patch makes of current. Both are of the kind.
func (c *call) patchObject(patch patchRequest, current, next runtime.Object, kind schema.GroupVersionKind) error {
	original, err := json.Marshal(current)
	if err != nil {
		return err
	}
	duplicates, err := patchDuplicates(patch)
	if err != nil {
		return err
	}
	result, err := patchJSON(patch, original, next)
	if err != nil {
		return err
	}
	into, err := decodePatched(result, next, kind)
	if err != nil {
		return invalidPatch(patch, err)
	}
	problems := append(duplicates, into...)
	if len(problems) == 0 {
		return nil
	}
	switch patch.options.fieldValidation {
	case metav1.FieldValidationStrict:
		return invalidPatch(patch, runtime.NewStrictDecodingError(problems))
	case metav1.FieldValidationWarn:
		for _, problem := range problems {
			c.warn(problem.Error())
		}
	}
	return nil
}

// decodePatched reads the patched JSON; problems are unknown and duplicate fields.
func decodePatched(body []byte, into runtime.Object, kind schema.GroupVersionKind) (problems []error, err error) {
	problems, err = kjson.UnmarshalStrict(body, into)
	if err != nil {
		return nil, err
	}
	if found := into.GetObjectKind().GroupVersionKind(); found != kind {
		return nil, fmt.Errorf("no kind %q is registered for version %q under this path", found.Kind, found.GroupVersion())
	}
	return problems, nil
}

// patchDuplicates are the fields that the patch itself names twice.
func patchDuplicates(patch patchRequest) ([]error, error) {
	if patch.kind == types.JSONPatchType {
		return nil, nil
	}
	var content map[string]any
	problems, err := kjson.UnmarshalStrict(patch.body, &content)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
	}
	return problems, nil
}

func invalidPatch(patch patchRequest, err error) error {
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(patch.body), err.Error())})
}

// patchJSON applies the patch; example's type tells how a strategic merge patch merges lists.
func patchJSON(patch patchRequest, original []byte, example runtime.Object) ([]byte, error) {
	switch patch.kind {
	case types.JSONPatchType:
		return applyJSONPatch(patch.body, original)
	case types.MergePatchType:
		result, err := jsonpatch.MergePatch(original, patch.body)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return result, nil
	default:
		result, err := strategicpatch.StrategicMergePatch(original, patch.body, example)
		if err != nil {
			return nil, strategicPatchError(err)
		}
		return result, nil
	}
}

func applyJSONPatch(body, original []byte) ([]byte, error) {
	operations, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(operations) > longestJSONPatch {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", longestJSONPatch, len(operations)))
	}
	if slices.ContainsFunc(operations, replacesByNothing) {
		return nil, apierrors.NewBadRequest("replace operation of the whole object has no value")
	}
	result, err := operations.Apply(original)
	if err != nil {
		return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
	}
	return result, nil
}

// replacesByNothing is true for an operation that breaks RFC 6902 §4.3 in a way that the library does not survive.
func replacesByNothing(operation jsonpatch.Operation) bool {
	path, err := operation.Path()
	_, valued := operation["value"]
	return operation.Kind() == "replace" && err == nil && path == "" && !valued
}

// strategicPatchError tells a patch that cannot be read from one that cannot be applied.
func strategicPatchError(err error) error {
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return apierrors.NewBadRequest(err.Error())
	case errors.Is(err, mergepatch.ErrNoListOfLists), errors.Is(err, mergepatch.ErrPatchContentNotMatchRetainKeys):
		return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
	default:
		return apierrors.NewBadRequest(err.Error())
	}
}
