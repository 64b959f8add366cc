package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/kubelite/kubelite/apiserver/auth"
	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	finish, err := c.admit(obj, nil)
	if err != nil {
		return nil, err
	}
	committed := false
	defer func() { finish(committed) }()
	if options.dryRun {
		return c.dryCreate(key, obj)
	}
	item, err = c.store.Create(c.r.Context(), key, obj)
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

// admit runs the kind's admission. finish must be called once.
func (c *call) admit(obj, old Object) (finish func(committed bool), err error) {
	if c.resource.Admit == nil {
		return func(bool) {}, nil
	}
	finish, err = c.resource.Admit(c.r.Context(), obj, old)
	if err != nil {
		return nil, err
	}
	if finish == nil {
		finish = func(bool) {}
	}
	return finish, nil
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
