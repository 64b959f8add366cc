package owner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Claim is what a controller does about an object of the kind that it controls.
type Claim int

const (
	Ignore  Claim = iota // another's, or none of its business
	Keep                 // its own already
	Adopt                // an orphan that it selects
	Release              // its own, but no longer selected
)

// Decide returns what controller does about object.
func Decide(controller, object metav1.Object, selector labels.Selector) Claim {
	selected := selector.Matches(labels.Set(object.GetLabels()))
	if ref := metav1.GetControllerOfNoCopy(object); ref != nil {
		switch {
		case ref.UID != controller.GetUID():
			return Ignore
		case selected:
			return Keep
		case controller.GetDeletionTimestamp() != nil:
			return Ignore
		default:
			return Release
		}
	}
	if !selected || controller.GetDeletionTimestamp() != nil || object.GetDeletionTimestamp() != nil ||
		controller.GetNamespace() != object.GetNamespace() {
		return Ignore
	}
	return Adopt
}

// Claimer carries out the decisions of one controller object.
type Claimer[T metav1.Object] struct {
	Controller metav1.Object
	Kind       schema.GroupVersionKind // of Controller
	Selector   labels.Selector
	// CanAdopt is asked once before the first adoption whether the controller, as the API server has it now, still is
	// the cached one and not being deleted.
	CanAdopt func(ctx context.Context) error
	// Patch applies a strategic merge patch to an object.
	Patch func(ctx context.Context, object T, patch []byte) error
}

// Claim adopts and releases among the candidates and returns those that are the controller's now. The error joins what
// went wrong; objects that vanished meanwhile are no error.
func (c *Claimer[T]) Claim(ctx context.Context, candidates []T) ([]T, error) {
	var owned []T
	var failures []error
	var asked bool
	var refused error
	for _, object := range candidates {
		switch Decide(c.Controller, object, c.Selector) {
		case Keep:
			owned = append(owned, object)
		case Adopt:
			if !asked {
				asked, refused = true, c.CanAdopt(ctx)
			}
			if refused != nil {
				failures = append(failures, fmt.Errorf("can't adopt %s (%s): %w", object.GetName(), object.GetUID(), refused))
				continue
			}
			err := c.Patch(ctx, object, adoptPatch(c.Controller, c.Kind, object.GetUID()))
			switch {
			case err == nil:
				owned = append(owned, object)
			case !apierrors.IsNotFound(err):
				failures = append(failures, fmt.Errorf("adopt %s: %w", object.GetName(), err))
			}
		case Release:
			err := c.Patch(ctx, object, releasePatch(c.Controller.GetUID(), object.GetUID()))
			// Invalid: the object is another one of the same name by now.
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) {
				failures = append(failures, fmt.Errorf("release %s: %w", object.GetName(), err))
			}
		}
	}
	return owned, errors.Join(failures...)
}

// CheckAdopter returns why the controller object as the API server has it now may not adopt in the name of the cached one.
func CheckAdopter(cached, live metav1.Object) error {
	if live.GetUID() != cached.GetUID() {
		return fmt.Errorf("original %s/%s is gone: got uid %s, wanted %s",
			cached.GetNamespace(), cached.GetName(), live.GetUID(), cached.GetUID())
	}
	if deleted := live.GetDeletionTimestamp(); deleted != nil {
		return fmt.Errorf("%s/%s has just been deleted at %v", cached.GetNamespace(), cached.GetName(), deleted)
	}
	return nil
}

type metadataPatch struct {
	Metadata struct {
		UID             types.UID `json:"uid"` // the patch fails on another object of the same name
		OwnerReferences []any     `json:"ownerReferences"`
	} `json:"metadata"`
}

func adoptPatch(controller metav1.Object, kind schema.GroupVersionKind, object types.UID) []byte {
	return ownerPatch(object, metav1.NewControllerRef(controller, kind))
}

func releasePatch(controller, object types.UID) []byte {
	return ownerPatch(object, map[string]string{"$patch": "delete", "uid": string(controller)})
}

func ownerPatch(object types.UID, reference any) []byte {
	var patch metadataPatch
	patch.Metadata.UID = object
	patch.Metadata.OwnerReferences = []any{reference}
	encoded, err := json.Marshal(patch)
	if err != nil {
		panic(err) // strings only: cannot happen
	}
	return encoded
}
