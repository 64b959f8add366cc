package garbagecollector

import (
	"context"
	"errors"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// orphan lets the dependents of an object go, and then the object.
func (c *Controller) orphan(ctx context.Context, seen snapshot) error {
	object, err := c.live(ctx, seen.identity)
	if err != nil {
		return err
	}
	var failures []error
	for _, d := range seen.dependents {
		if err := c.release(ctx, d.identity, object); err != nil && !errors.Is(err, errGone) {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 {
		return errors.Join(failures...)
	}
	return c.removeFinalizer(ctx, seen.identity, object, metav1.FinalizerOrphanDependents)
}

// release removes the references to owner from a dependent.
func (c *Controller) release(ctx context.Context, where identity, owner *metav1.PartialObjectMetadata) error {
	object, err := c.live(ctx, where)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(object.OwnerReferences), func(ref metav1.OwnerReference) bool { return ref.UID == owner.UID })
	if len(rest) == len(object.OwnerReferences) {
		return nil
	}
	return c.patch(ctx, where, object, map[string]any{"ownerReferences": rest})
}
