package apiserver

import (
	"fmt"

	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
)

// writeTable answers with the table that `kubectl get` prints. page is nil for a single object.
func (c *call) writeTable(code int, format outputFormat, items []*store.Item, revision string, page *listPage) error {
	include, err := c.includeObject()
	if err != nil {
		return err
	}
	table := c.resource.table(items, include)
	if page != nil {
		table.ListMeta = page.meta()
	} else if len(items) == 1 {
		table.ResourceVersion = items[0].Object.GetResourceVersion()
	} else {
		table.ResourceVersion = revision
	}
	writeObject(c.w, c.r, code, format, table)
	return nil
}

// includeObject is how much of each object a table's rows hold; by default its metadata.
func (c *call) includeObject() (metav1.IncludeObjectPolicy, error) {
	var options metav1.TableOptions
	if err := parseQuery(c, metav1.Convert_url_Values_To_v1_TableOptions, &options); err != nil {
		return "", err
	}
	if errs := metavalidation.ValidateTableOptions(&options); len(errs) > 0 {
		return "", apierrors.NewBadRequest(fmt.Sprintf("Unable to convert to Table as requested: %v", errs.ToAggregate()))
	}
	if options.IncludeObject == "" {
		return metav1.IncludeMetadata, nil
	}
	return options.IncludeObject, nil
}

func (res *resource) table(items []*store.Item, include metav1.IncludeObjectPolicy) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: res.Columns, Rows: make([]metav1.TableRow, 0, len(items))}
	table.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind(asTable))
	for _, item := range items {
		row := metav1.TableRow{Cells: res.Cells(item.Object)}
		switch include {
		case metav1.IncludeObject:
			row.Object = runtime.RawExtension{Object: res.wire(item.Object)}
		case metav1.IncludeMetadata:
			row.Object = runtime.RawExtension{Object: metadataOf(res, item.Object)}
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

// metadataOf reduces an object to its metadata.
func metadataOf(res *resource, stored Object) *metav1.PartialObjectMetadata {
	partial := meta.AsPartialObjectMetadata(res.wire(stored))
	partial.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind(asMetadata))
	return partial
}
