package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/kubelite/kubelite/apiserver/auth"
	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// generateAttempts is how often a taken generated name is replaced by another.
const generateAttempts = 8

// create answers POST to a collection.
func (c *call) create() error {
	options, err := c.createOptions()
	if err != nil {
		return err
	}
	format, err := c.format(asTable, asMetadata)
	if err != nil {
		return err
	}
	obj := c.resource.New()
	if err := c.decodeBody(c.resource.GroupVersionKind, obj, options.fieldValidation); err != nil {
		return err
	}
	if obj.GetResourceVersion() != "" {
		return apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	obj.SetManagedFields(nil)
	item, err := c.createObject(c.resource.internal(obj), options)
	if err != nil {
		return err
	}
	return c.writeItem(http.StatusCreated, format, item)
}

// createObject takes a decoded object through defaults, hooks and validation into the store. obj becomes the callee's.
func (c *call) createObject(obj Object, options writeOptions) (*store.Item, error) {
	if err := c.matchRequest(obj); err != nil {
		return nil, err
	}
	if err := c.requireNamespace(obj.GetName()); err != nil {
		return nil, err
	}
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	for attempt := 1; ; attempt++ {
		next := obj.DeepCopyObject().(Object)
		item, err := c.tryCreate(next, options)
		switch {
		case err == nil:
			return item, nil
		case !errors.Is(err, store.ErrExists):
			return nil, err
		case !generated:
			return nil, apierrors.NewAlreadyExists(c.resource.GroupResource(), next.GetName())
		case attempt == generateAttempts:
			return nil, apierrors.NewGenerateNameConflict(c.resource.GroupResource(), next.GetName(), 1)
		}
	}
}

func (c *call) tryCreate(obj Object, options writeOptions) (item *store.Item, err error) {
	kind := c.resource.Kind
	if kind.Default != nil {
		kind.Default(obj)
	}
	c.stampNew(obj)
	if err := c.authorizeName(obj.GetName()); err != nil {
		return nil, err
	}
	finishBegun, err := c.runHook(kind.Begin, obj, nil)
	if err != nil {
		return nil, err
	}
	committed := false
	defer func() { finishBegun(committed) }()
	if kind.PrepareForCreate != nil {
		kind.PrepareForCreate(obj)
	}
	if err := validateNew(kind, obj); err != nil {
		return nil, err
	}
	if kind.Warnings != nil {
		for _, warning := range kind.Warnings(obj, nil) {
			c.warn(warning)
		}
	}
	key := c.resource.key(obj.GetNamespace(), obj.GetName())
	finish, err := c.runHook(kind.Admit, obj, nil)
	if err != nil {
		return nil, err
	}
	defer func() { finish(committed) }()
	if options.dryRun {
		return c.dryCreate(key, obj)
	}
	item, err = c.store.Create(c.r.Context(), key, obj, c.companions(obj, nil)...)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	committed = true
	return item, nil
}

// authorizeName asks again, with the name that is known only now: nodes may make only what bears their own.
func (c *call) authorizeName(name string) error {
	if c.name != "" || name == "" {
		return nil // the name was on the URL, or is missing
	}
	return c.authorize(auth.Attributes{
		Verb:      "create",
		Group:     c.resource.GroupVersionKind.Group,
		Resource:  c.resource.Resource,
		Namespace: c.namespace,
		Name:      name,
	})
}

// reserveHook is a kind's Begin or Admit.
type reserveHook = func(ctx context.Context, obj, old Object) (finish func(committed bool), err error)

// runHook runs a kind's hook, if it has it. finish must be called once.
func (c *call) runHook(hook reserveHook, obj, old Object) (finish func(committed bool), err error) {
	nothing := func(bool) {}
	if hook == nil {
		return nothing, nil
	}
	finish, err = hook(c.r.Context(), obj, old)
	if err != nil {
		return nil, err
	}
	if finish == nil {
		finish = nothing
	}
	return finish, nil
}

// companions are the objects that are written in the same transaction as obj takes the place of old. obj is nil on deletion,
// old on create.
func (c *call) companions(obj, old Object) []store.Companion {
	if c.resource.Along == nil {
		return nil
	}
	var companions []store.Companion
	set, removed := c.resource.Along(obj, old)
	for _, other := range set {
		c.stampNew(other)
		companions = append(companions, store.Companion{Key: c.companionKey(other), Object: other})
	}
	for _, other := range removed {
		companions = append(companions, store.Companion{Key: c.companionKey(other)})
	}
	return companions
}

// companionKey is where an object of any kind is stored.
func (s *Server) companionKey(obj Object) store.Key {
	kind := obj.GetObjectKind().GroupVersionKind()
	for _, res := range s.resources {
		if res.GroupVersionKind == kind {
			return res.key(obj.GetNamespace(), obj.GetName())
		}
	}
	return store.Key{Resource: schema.GroupResource{Group: kind.Group, Resource: kind.Kind}, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// dryCreate answers what create would, without a write.
func (c *call) dryCreate(key store.Key, obj Object) (*store.Item, error) {
	existing, err := c.lookup(key)
	if err != nil {
		return nil, err
	}
	if existing != nil {
		return nil, store.ErrExists
	}
	return &store.Item{Key: key, Object: obj}, nil
}
