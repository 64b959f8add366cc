package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// delete answers DELETE of one object: with the object while it is still there, with a Status when it has gone.
func (c *call) delete() error {
	options, err := c.deleteOptions()
	if err != nil {
		return err
	}
	format, err := c.format(asTable, asMetadata)
	if err != nil {
		return err
	}
	outcome, err := c.deleteObject(c.key(), options)
	if err != nil {
		return err
	}
	code := http.StatusOK
	//lint:ignore SA1019 clients may still send it
	if asked := options.OrphanDependents; !outcome.gone && asked != nil && !*asked {
		code = http.StatusAccepted
	}
	if !outcome.gone || returnsDeleted(c.resource.Kind) {
		return c.writeItem(code, format, outcome.item)
	}
	writeObject(c.w, c.r, code, format, c.deletedStatus(outcome.item))
	return nil
}

// returnsDeleted names the kinds for which Kubernetes answers a deletion with the object's last state.
func returnsDeleted(kind *registry.Kind) bool {
	return kind.GroupVersionKind.Group == "" && slices.Contains([]string{"pods", "services", "serviceaccounts"}, kind.Resource)
}

func (c *call) deletedStatus(item *store.Item) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusSuccess,
		Details: &metav1.StatusDetails{
			Name:  item.Key.Name,
			Group: c.resource.GroupVersionKind.Group,
			Kind:  c.resource.Resource,
			UID:   item.Object.GetUID(),
		},
	}
}

// deleteOptions come in the body, or else in the query.
func (c *call) deleteOptions() (*metav1.DeleteOptions, error) {
	options := new(metav1.DeleteOptions)
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		mediaType, err := requestMediaType(c.r)
		if err != nil {
			return nil, err
		}
		if err := decodeDeleteOptions(body, mediaType, options); err != nil {
			return nil, err
		}
	} else {
		convert := metav1.Convert_url_Values_To_v1_DeleteOptions
		query := c.r.URL.Query()
		if err := convert(&query, options, conversion.Scope(nil)); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return options, invalidOptions("DeleteOptions", metavalidation.ValidateDeleteOptions(options))
}

// decodeDeleteOptions takes DeleteOptions of any group: clients send them in the version of what they delete.
func decodeDeleteOptions(body []byte, mediaType string, options *metav1.DeleteOptions) error {
	for _, info := range registry.Codecs.SupportedMediaTypes() {
		if info.MediaType != mediaType {
			continue
		}
		kind := schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"}
		if _, found, err := info.Serializer.Decode(body, &kind, options); err != nil {
			return decodeError(err, found, kind, body)
		}
		return nil
	}
	return unsupportedMediaTypeError(acceptedMedia)
}

// deletion is what a DELETE did.
type deletion struct {
	item *store.Item
	gone bool
}

// deleteObject marks or removes one object. Lost races are made anew.
func (c *call) deleteObject(key store.Key, options *metav1.DeleteOptions) (deletion, error) {
	for attempt := 1; ; attempt++ {
		current, err := c.store.Get(key)
		if err != nil {
			return deletion{}, storeError(c.resource.Kind, key.Name, err)
		}
		outcome, err := c.tryDelete(current, options)
		switch {
		case errors.Is(err, store.ErrConflict) && attempt < writeAttempts:
		case err != nil:
			return deletion{}, storeError(c.resource.Kind, key.Name, err)
		default:
			return outcome, nil
		}
	}
}

func (c *call) tryDelete(current *store.Item, options *metav1.DeleteOptions) (deletion, error) {
	if c.resource.AdmitDelete != nil {
		if err := c.resource.AdmitDelete(c.r.Context(), current.Object); err != nil {
			return deletion{}, err
		}
	}
	if err := c.checkPreconditions(current.Object, options.Preconditions); err != nil {
		return deletion{}, err
	}
	marked := current.Object.DeepCopyObject().(Object)
	if pending := c.mark(marked, options); pending {
		return deletion{item: current}, nil
	}
	goes := c.mayGo(marked)
	if len(options.DryRun) > 0 {
		return deletion{item: &store.Item{Key: current.Key, Revision: current.Revision, Object: marked}, gone: goes}, nil
	}
	if goes {
		item, err := c.remove(current)
		return deletion{item: item, gone: true}, err
	}
	if apiequality.Semantic.DeepEqual(marked, current.Object) { // marked by an earlier request
		return deletion{item: current}, nil
	}
	item, err := c.store.Update(c.r.Context(), current.Key, current.Revision, marked)
	return deletion{item: item}, err
}

// checkPreconditions refuses a deletion that was meant for another object, or another version of it.
func (c *call) checkPreconditions(obj Object, preconditions *metav1.Preconditions) error {
	if preconditions == nil {
		return nil
	}
	if uid := preconditions.UID; uid != nil && *uid != obj.GetUID() {
		return apierrors.NewConflict(c.resource.GroupResource(), obj.GetName(), fmt.Errorf("the UID in the precondition (%s) "+
			"does not match the UID in record (%s). The object might have been deleted and then recreated", *uid, obj.GetUID()))
	}
	if version := preconditions.ResourceVersion; version != nil && *version != obj.GetResourceVersion() {
		return apierrors.NewConflict(c.resource.GroupResource(), obj.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) "+
			"does not match the ResourceVersion in record (%s). The object might have been modified", *version, obj.GetResourceVersion()))
	}
	return nil
}

// mark puts on obj what a deletion puts there: time, grace period and finalizers. pending is true, and obj unchanged, if
// the object is being deleted already and this request does not shorten its grace period.
func (c *call) mark(obj Object, options *metav1.DeleteOptions) (pending bool) {
	now := metav1.Now().Rfc3339Copy()
	asked := options.GracePeriodSeconds
	if asked != nil && *asked < 0 {
		asked = ptr.To[int64](1) // as Kubernetes reads it
	}
	grace, graceful := c.gracePeriod(obj, asked)
	if since := obj.GetDeletionTimestamp(); since != nil {
		last := obj.GetDeletionGracePeriodSeconds()
		switch {
		case !graceful, last == nil, *last == 0: // only finalizers hold it: its time has come already
			grace = 0
			if since.Before(&now) {
				now = *since
			}
		case asked == nil, *asked >= *last:
			return true
		default:
			grace = *asked
			now = metav1.NewTime(since.Add(-time.Duration(*last) * time.Second))
		}
	} else if obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
	first := obj.GetDeletionTimestamp() == nil
	ends := metav1.NewTime(now.Add(time.Duration(grace) * time.Second))
	obj.SetDeletionTimestamp(&ends)
	obj.SetDeletionGracePeriodSeconds(&grace)
	obj.SetFinalizers(deletionFinalizers(obj.GetFinalizers(), options))
	if first && c.resource.MarkDeleted != nil {
		c.resource.MarkDeleted(obj)
	}
	return false
}

// gracePeriod is how many seconds the object is left; graceful is false for kinds that know no grace.
func (c *call) gracePeriod(obj Object, asked *int64) (seconds int64, graceful bool) {
	if c.resource.GracePeriod == nil {
		return 0, false
	}
	return max(0, c.resource.GracePeriod(obj, asked)), true
}

// deletionFinalizers are the object's finalizers with the garbage collector's set as the propagation policy says: none for
// Background, which is the default where the object itself does not say otherwise.
func deletionFinalizers(finalizers []string, options *metav1.DeleteOptions) []string {
	orphan := slices.Contains(finalizers, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(finalizers, metav1.FinalizerDeleteDependents)
	//lint:ignore SA1019 clients may still send it
	asked := options.OrphanDependents
	switch {
	case asked != nil:
		orphan, foreground = *asked, false
	case options.PropagationPolicy != nil:
		orphan = *options.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *options.PropagationPolicy == metav1.DeletePropagationForeground
	}
	kept := slices.DeleteFunc(slices.Clone(finalizers), func(finalizer string) bool {
		return finalizer == metav1.FinalizerOrphanDependents || finalizer == metav1.FinalizerDeleteDependents
	})
	if orphan {
		kept = append(kept, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		kept = append(kept, metav1.FinalizerDeleteDependents)
	}
	return kept
}

// mayGo reports whether nothing holds a deleted object any more.
func (c *call) mayGo(obj Object) bool {
	if obj.GetDeletionTimestamp() == nil || len(obj.GetFinalizers()) > 0 {
		return false
	}
	if grace := obj.GetDeletionGracePeriodSeconds(); grace != nil && *grace > 0 {
		return false
	}
	return c.resource.Held == nil || !c.resource.Held(obj)
}

// remove takes the object out of the store and tells its kind.
func (c *call) remove(current *store.Item) (*store.Item, error) {
	item, err := c.store.Delete(c.r.Context(), current.Key, current.Revision, c.companions(nil, current.Object)...)
	if err != nil {
		return nil, err
	}
	if c.resource.AfterDelete != nil {
		c.resource.AfterDelete(item.Object)
	}
	return item, nil
}
