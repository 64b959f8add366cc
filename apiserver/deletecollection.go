package apiserver

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// deleteCollection answers DELETE of a collection: each selected object is deleted as if alone, and the list of them is
// the answer.
func (c *call) deleteCollection() error {
	listOptions, err := c.listOptions()
	if err != nil {
		return err
	}
	selected, err := parseSelector(c.resource, listOptions.LabelSelector, listOptions.FieldSelector)
	if err != nil {
		return err
	}
	options, err := c.deleteOptions()
	if err != nil {
		return err
	}
	format, err := c.format(asTable, asMetadataList)
	if err != nil {
		return err
	}
	page, err := c.page(listOptions, selected)
	if err != nil {
		return err
	}
	deleted := listPage{revision: page.revision}
	for _, item := range page.items {
		outcome, err := c.deleteObject(item.Key, options)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		deleted.items = append(deleted.items, outcome.item)
		deleted.revision = max(deleted.revision, outcome.item.Revision)
	}
	return c.writeList(format, deleted)
}
