package garbagecollector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// errGone is returned when the object of a task does not exist, or not any more, under its UID.
var errGone = errors.New("object is gone")

// unseenPatience is after what time an owner that exists, but that its informer has not shown, is looked for again.
const unseenPatience = time.Second

// live returns the object as the API server has it. It returns errGone for one that it has not.
func (c *Controller) live(ctx context.Context, where identity) (*metav1.PartialObjectMetadata, error) {
	object, err := c.objects.Resource(where.resource).Namespace(where.namespace).Get(ctx, where.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && object.UID != where.uid {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", where, err)
	}
	return object, nil
}

func (i identity) String() string {
	if i.namespace == "" {
		return fmt.Sprintf("%s %s", i.resource.GroupResource(), i.name)
	}
	return fmt.Sprintf("%s %s/%s", i.resource.GroupResource(), i.namespace, i.name)
}

// confirm looks whether an owner that nobody has shown exists.
func (c *Controller) confirm(ctx context.Context, owner snapshot) error {
	if owner.observed || owner.resource.Empty() {
		return nil // an owner of a kind that is not served cannot be asked for: it counts as there
	}
	if _, err := c.live(ctx, owner.identity); err != nil {
		return err
	}
	if !isEvent(owner.resource.GroupResource()) {
		// It may be deleted before its informer ever shows it.
		c.queue.AddAfter(task{confirm, owner.uid}, unseenPatience)
	}
	return nil
}

// collect deletes the object if all its owners are gone, and lets it go if it waited for dependents that are gone.
func (c *Controller) collect(ctx context.Context, seen snapshot) error {
	if !seen.observed || seen.deleting && !seen.foreground {
		return nil
	}
	object, err := c.live(ctx, seen.identity)
	if err != nil {
		return err
	}
	if seen.foreground {
		return c.finishForeground(ctx, seen, object)
	}
	if len(object.OwnerReferences) == 0 || object.DeletionTimestamp != nil {
		return nil
	}
	owners, err := c.classify(ctx, object)
	if err != nil {
		return err
	}
	switch {
	case len(owners.solid) > 0:
		if len(owners.absent)+len(owners.waiting) == 0 {
			return nil
		}
		return c.patch(ctx, seen.identity, object, map[string]any{"ownerReferences": owners.solid})
	case len(owners.waiting) > 0 && len(seen.dependents) > 0:
		if err := c.breakCircle(ctx, seen, object); err != nil {
			return err
		}
		return c.delete(ctx, seen.identity, object, metav1.DeletePropagationForeground)
	default:
		return c.delete(ctx, seen.identity, object, policyOf(object))
	}
}

// owners are an object's owner references by what became of the owners.
type owners struct {
	solid   []metav1.OwnerReference // exists
	absent  []metav1.OwnerReference
	waiting []metav1.OwnerReference // exists, and is only waiting for its dependents to go
}

// classify asks for each of the object's owners.
func (c *Controller) classify(ctx context.Context, object *metav1.PartialObjectMetadata) (owners, error) {
	var found owners
	for _, ref := range object.OwnerReferences {
		where := c.locate(ref, object.Namespace)
		// A cluster-wide object cannot have an owner in a namespace; as in Kubernetes, it is left alone.
		unknowable := where.resource.Empty() || object.Namespace == "" && c.isNamespaced(ref)
		switch {
		case unknowable:
			found.solid = append(found.solid, ref)
			continue
		case c.graph.isGone(ref.UID):
			found.absent = append(found.absent, ref)
			continue
		}
		owner, err := c.live(ctx, where)
		switch {
		case errors.Is(err, errGone):
			found.absent = append(found.absent, ref)
		case err != nil:
			return owners{}, err
		case owner.DeletionTimestamp != nil && slices.Contains(owner.Finalizers, metav1.FinalizerDeleteDependents):
			found.waiting = append(found.waiting, ref)
		default:
			found.solid = append(found.solid, ref)
		}
	}
	return found, nil
}

func (c *Controller) isNamespaced(ref metav1.OwnerReference) bool {
	kind, ok := c.kinds.Of(ref.APIVersion, ref.Kind)
	return ok && kind.Namespaced
}

// policyOf honours what an earlier deletion asked for; otherwise the object goes first and its dependents follow.
func policyOf(object *metav1.PartialObjectMetadata) metav1.DeletionPropagation {
	switch {
	case slices.Contains(object.Finalizers, metav1.FinalizerOrphanDependents):
		return metav1.DeletePropagationOrphan
	case slices.Contains(object.Finalizers, metav1.FinalizerDeleteDependents):
		return metav1.DeletePropagationForeground
	default:
		return metav1.DeletePropagationBackground
	}
}

// breakCircle makes the object block none of its owners if one of its dependents is waiting for dependents, too: they might
// wait for each other for ever.
func (c *Controller) breakCircle(ctx context.Context, seen snapshot, object *metav1.PartialObjectMetadata) error {
	if !slices.ContainsFunc(seen.dependents, func(d dependent) bool { return d.foreground }) {
		return nil
	}
	refs := slices.Clone(object.OwnerReferences)
	for i := range refs {
		refs[i].BlockOwnerDeletion = ptr.To(false)
	}
	if err := c.patch(ctx, seen.identity, object, map[string]any{"ownerReferences": refs}); err != nil {
		return err
	}
	changed, err := c.live(ctx, seen.identity)
	if err != nil {
		return err
	}
	object.ResourceVersion = changed.ResourceVersion
	return nil
}

// finishForeground removes the finalizer from an object that waited for its dependents, once none blocks it any more.
func (c *Controller) finishForeground(ctx context.Context, seen snapshot, object *metav1.PartialObjectMetadata) error {
	blocked := false
	for _, d := range seen.dependents {
		if d.blocks {
			blocked = true
			if !d.foreground {
				c.queue.Add(task{collect, d.uid})
			}
		}
	}
	if blocked {
		return nil
	}
	return c.removeFinalizer(ctx, seen.identity, object, metav1.FinalizerDeleteDependents)
}

func (c *Controller) removeFinalizer(ctx context.Context, where identity, object *metav1.PartialObjectMetadata, finalizer string) error {
	if !slices.Contains(object.Finalizers, finalizer) {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(object.Finalizers), func(f string) bool { return f == finalizer })
	return c.patch(ctx, where, object, map[string]any{"finalizers": rest})
}

// delete deletes the object as it was read: if it got another owner meanwhile, it is a conflict, and looked at again.
func (c *Controller) delete(ctx context.Context, where identity, object *metav1.PartialObjectMetadata, policy metav1.DeletionPropagation) error {
	options := metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion},
		PropagationPolicy: &policy,
	}
	err := c.objects.Resource(where.resource).Namespace(where.namespace).Delete(ctx, where.name, options)
	if apierrors.IsNotFound(err) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", where, err)
	}
	return nil
}

// patch replaces fields of the object's metadata, provided that it is as it was read.
func (c *Controller) patch(ctx context.Context, where identity, object *metav1.PartialObjectMetadata, fields map[string]any) error {
	fields["uid"], fields["resourceVersion"] = object.UID, object.ResourceVersion
	body, err := json.Marshal(map[string]any{"metadata": fields})
	if err != nil {
		return fmt.Errorf("encode patch of %s: %w", where, err)
	}
	_, err = c.objects.Resource(where.resource).Namespace(where.namespace).Patch(ctx, where.name, types.MergePatchType, body, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("patch %s: %w", where, err)
	}
	return nil
}
