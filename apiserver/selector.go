package apiserver

import (
	"fmt"
	"slices"

	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// selector says which objects of a resource a client wants to see.
type selector struct {
	resource *resource
	labels   labels.Selector
	fields   fields.Selector
}

// parseSelector reads the two selector parameters; the errors are Kubernetes'.
func parseSelector(res *resource, labelSelector, fieldSelector string) (selector, error) {
	byLabel, err := labels.Parse(labelSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest(err.Error())
	}
	byField, err := fields.ParseSelector(fieldSelector)
	if err != nil {
		return selector{}, apierrors.NewBadRequest(err.Error())
	}
	for _, requirement := range byField.Requirements() {
		if err := res.checkFieldLabel(requirement.Field); err != nil {
			return selector{}, err
		}
	}
	return selector{resource: res, labels: byLabel, fields: byField}, nil
}

// checkFieldLabel refuses fields that the kind cannot be selected by.
func (res *resource) checkFieldLabel(field string) error {
	if field == "metadata.name" || (field == "metadata.namespace" && res.Namespaced) {
		return nil
	}
	if res.Fields == nil {
		return apierrors.NewBadRequest(fmt.Sprintf(`%q is not a known field selector: only "metadata.name", "metadata.namespace"`, field))
	}
	if !res.Fields(res.stored.New()).Has(field) {
		return apierrors.NewBadRequest("field label not supported: " + field)
	}
	return nil
}

// everything reports whether the selector selects all objects.
func (s selector) everything() bool { return s.labels.Empty() && s.fields.Empty() }

// matches reports whether the item is selected.
func (s selector) matches(item *store.Item) bool {
	if !s.labels.Empty() && !s.labels.Matches(labels.Set(item.Object.GetLabels())) {
		return false
	}
	return s.fields.Empty() || s.fields.Matches(s.fieldSet(item))
}

func (s selector) fieldSet(item *store.Item) fields.Fields {
	set := fields.Set{}
	if s.resource.Fields != nil && s.usesKindFields() {
		set = s.resource.Fields(item.Object)
	}
	if set == nil {
		set = fields.Set{}
	}
	set["metadata.name"] = item.Key.Name
	set["metadata.namespace"] = item.Key.Namespace
	return set
}

func (s selector) usesKindFields() bool {
	return slices.ContainsFunc(s.fields.Requirements(), func(requirement fields.Requirement) bool {
		return requirement.Field != "metadata.name" && requirement.Field != "metadata.namespace"
	})
}

// filter keeps the selected items.
func (s selector) filter(items []*store.Item) []*store.Item {
	if s.everything() {
		return items
	}
	var selected []*store.Item
	for _, item := range items {
		if s.matches(item) {
			selected = append(selected, item)
		}
	}
	return selected
}

// withName narrows the selector to one object.
func (s selector) withName(name string) (selector, error) {
	if asked, ok := s.fields.RequiresExactMatch("metadata.name"); ok && asked != name {
		return selector{}, apierrors.NewBadRequest("fieldSelector metadata.name doesn't match requested name")
	}
	s.fields = fields.AndSelectors(s.fields, fields.OneTermEqualSelector("metadata.name", name))
	return s, nil
}
