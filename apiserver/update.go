package apiserver

import (
	"errors"
	"net/http"

	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// writeAttempts is how often a change that does not insist on a version is made anew after a lost race.
const writeAttempts = 20

// change is a way to make the next version of an object: what update, patch, /status, /scale and the rest have in common.
type change struct {
	options writeOptions
	// next makes the new version, in its stored form. current is a copy that it may change and return; it is nil
	// where there is no object and create is set. It may be called several times.
	next func(current Object) (Object, error)
	// create makes a missing object instead of answering NotFound.
	create bool
	// subresource is "" or "status" or "finalize" …, and strategy its rules (nil: those of the main resource).
	subresource string
	strategy    *registry.StatusStrategy
	// applied: next has set the managed fields itself.
	applied bool
	// insist: a lost race is an error even though next took no part in naming a version.
	insist bool
}

// update answers PUT of one object.
func (c *call) update() error { return c.put("", nil) }

// put replaces an object, or the part of it that a subresource's strategy lets through.
func (c *call) put(subresource string, strategy *registry.StatusStrategy) error {
	options, err := c.updateOptions()
	if err != nil {
		return err
	}
	format, err := c.format(asTable, asMetadata)
	if err != nil {
		return err
	}
	wire := c.resource.New()
	if err := c.decodeBody(c.resource.GroupVersionKind, wire, options.fieldValidation); err != nil {
		return err
	}
	if err := c.matchRequest(wire); err != nil {
		return err
	}
	sent := c.resource.internal(wire)
	item, created, err := c.modify(change{
		options:     options,
		next:        func(Object) (Object, error) { return sent.DeepCopyObject().(Object), nil },
		create:      c.resource.CreateOnUpdate && subresource == "",
		subresource: subresource,
		strategy:    strategy,
		insist:      sent.GetResourceVersion() != "",
	})
	if err != nil {
		return err
	}
	return c.writeItem(createdOr(http.StatusOK, created), format, item)
}

func createdOr(code int, created bool) int {
	if created {
		return http.StatusCreated
	}
	return code
}

// modify makes and stores the next version of the call's object. A change that makes no difference is not stored.
func (c *call) modify(ch change) (item *store.Item, created bool, err error) {
	for attempt := 1; ; attempt++ {
		item, created, err = c.tryModify(ch)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, false, storeError(c.resource.Kind, c.name, err)
		case errors.Is(err, store.ErrConflict):
			if ch.insist || attempt == writeAttempts {
				return nil, false, storeError(c.resource.Kind, c.name, err)
			}
		case ch.create && apierrors.IsAlreadyExists(err) && attempt < writeAttempts:
			// someone else created it meanwhile: change that
		default:
			return item, created, err
		}
	}
}

func (c *call) tryModify(ch change) (*store.Item, bool, error) {
	current, err := c.lookup(c.key())
	if err != nil {
		return nil, false, err
	}
	if current == nil {
		if !ch.create {
			return nil, false, apierrors.NewNotFound(c.resource.GroupResource(), c.name)
		}
		obj, err := ch.next(nil)
		if err != nil {
			return nil, false, err
		}
		if obj.GetUID() != "" {
			return nil, false, c.otherUIDError(obj.GetUID(), "")
		}
		item, err := c.createObject(obj, ch.options)
		return item, true, err
	}
	next, err := ch.next(current.Object.DeepCopyObject().(Object))
	if err != nil {
		return nil, false, err
	}
	item, err := c.replace(ch, current, next)
	return item, false, err
}

// replace takes the next version through hooks and validation into the store.
func (c *call) replace(ch change, current *store.Item, next Object) (item *store.Item, err error) {
	if err := c.identifyChange(ch, current.Object, next); err != nil {
		return nil, err
	}
	begin, admit := c.resource.Begin, c.resource.Admit
	if ch.strategy != nil { // subresources reserve nothing
		begin, admit = nil, nil
	}
	finishBegun, err := c.runHook(begin, next, current.Object)
	if err != nil {
		return nil, err
	}
	committed := false
	defer func() { finishBegun(committed) }()
	if err := c.prepareChange(ch, current.Object, next); err != nil {
		return nil, err
	}
	if err := c.restrictNodeChange(current.Object, next); err != nil {
		return nil, err
	}
	finish, err := c.runHook(admit, next, current.Object)
	if err != nil {
		return nil, err
	}
	defer func() { finish(committed) }()
	if apiequality.Semantic.DeepEqual(next, current.Object) && !c.mayGo(next) {
		return current, nil
	}
	if ch.options.dryRun {
		return &store.Item{Key: current.Key, Revision: current.Revision, Object: next}, nil
	}
	if c.mayGo(next) {
		if item, err = c.remove(current); err != nil {
			return nil, err
		}
		return &store.Item{Key: item.Key, Revision: item.Revision, Object: next}, nil
	}
	item, err = c.store.Update(c.r.Context(), current.Key, current.Revision, next, c.companions(next, current.Object)...)
	committed = err == nil
	return item, err
}

// identifyChange refuses a change that was meant for another object or version, and fills in what a client may leave out.
func (c *call) identifyChange(ch change, current, next Object) error {
	kind := c.resource.Kind
	if next.GetResourceVersion() == "" && kind.ConditionalUpdate && ch.subresource == "" {
		return invalid(kind, next, field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update")})
	}
	if err := c.checkIdentity(next, current); err != nil {
		return err
	}
	next.SetResourceVersion(current.GetResourceVersion())
	next.SetGeneration(current.GetGeneration())
	next.SetCreationTimestamp(current.GetCreationTimestamp())
	next.SetSelfLink("")
	if next.GetUID() == "" {
		next.SetUID(current.GetUID())
	}
	if current.GetDeletionTimestamp() != nil { // a deletion is never taken back
		next.SetDeletionTimestamp(current.GetDeletionTimestamp())
		next.SetDeletionGracePeriodSeconds(current.GetDeletionGracePeriodSeconds())
	}
	if kind.Default != nil {
		kind.Default(next)
	}
	return nil
}

// prepareChange drops what a client may not change, and validates.
func (c *call) prepareChange(ch change, current, next Object) error {
	kind := c.resource.Kind
	prepare, validate, warnings := kind.PrepareForUpdate, kind.ValidateUpdate, kind.Warnings
	if ch.strategy != nil {
		prepare, validate, warnings = ch.strategy.PrepareForUpdate, ch.strategy.ValidateUpdate, ch.strategy.Warnings
	}
	if prepare != nil {
		prepare(next, current)
	}
	if !ch.applied {
		c.trackManagedFields(ch, current, next)
	}
	if err := validateChange(kind, validate, next, current); err != nil {
		return err
	}
	if warnings != nil {
		for _, warning := range warnings(next, current) {
			c.warn(warning)
		}
	}
	return nil
}
