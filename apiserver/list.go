package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	internalvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// list answers GET of a collection, and hands over to watch if ?watch asks for it.
func (c *call) list() error {
	options, err := c.listOptions()
	if err != nil {
		return err
	}
	if err := validateListOptions(options); err != nil {
		return err
	}
	selected, err := parseSelector(c.resource, options.LabelSelector, options.FieldSelector)
	if err != nil {
		return err
	}
	if c.name != "" { // GET .../NAME?watch, and the deprecated /watch/ paths
		if selected, err = selected.withName(c.name); err != nil {
			return err
		}
	}
	if options.Watch {
		return c.watch(options, selected)
	}
	format, err := c.format(asTable, asMetadataList)
	if err != nil {
		return err
	}
	page, err := c.page(options, selected)
	if err != nil {
		return err
	}
	return c.writeList(format, page)
}

// listPage is one answer to a list.
type listPage struct {
	items     []*store.Item
	revision  uint64
	token     string // to continue; empty at the end
	remaining *int64 // nil if unknown
}

func (p listPage) meta() metav1.ListMeta {
	return metav1.ListMeta{
		ResourceVersion:    strconv.FormatUint(p.revision, 10),
		Continue:           p.token,
		RemainingItemCount: p.remaining,
	}
}

// page takes the asked-for items from the asked-for snapshot.
func (c *call) page(options *metav1.ListOptions, selected selector) (listPage, error) {
	snapshot, after, err := c.snapshot(options)
	if err != nil {
		return listPage{}, err
	}
	limit := int(options.Limit)
	page := listPage{revision: snapshot.Revision}
	if selected.everything() {
		var remaining int
		page.items, remaining = snapshot.Page(after, limit)
		if remaining > 0 {
			count := int64(remaining)
			page.remaining = &count
			page.token = continueToken(snapshot.Revision, page.items[len(page.items)-1].Key)
		}
		return page, nil
	}
	rest, _ := snapshot.Page(after, 0)
	page.items = selected.filter(rest)
	if limit > 0 && len(page.items) > limit {
		page.items = page.items[:limit]
		page.token = continueToken(snapshot.Revision, page.items[limit-1].Key)
		snapshot.Keep()
	}
	return page, nil
}

// snapshot is what the list reads, and the key after which it begins.
func (c *call) snapshot(options *metav1.ListOptions) (store.Snapshot, store.Key, error) {
	stored := c.resource.stored.GroupResource()
	if options.Continue != "" {
		return c.continued(options.Continue, stored)
	}
	revision, err := parseRevision(options.ResourceVersion)
	if err != nil {
		return store.Snapshot{}, store.Key{}, err
	}
	if current := c.store.Revision(); revision > current {
		return store.Snapshot{}, store.Key{}, tooLargeError(revision, current)
	}
	exact := options.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
		(options.ResourceVersionMatch == "" && options.Limit > 0 && revision > 0)
	if !exact {
		return c.store.List(stored, c.namespace), store.Key{}, nil
	}
	snapshot, err := c.store.ListAt(stored, c.namespace, revision)
	if err != nil {
		return store.Snapshot{}, store.Key{}, storeError(c.resource.Kind, "", err)
	}
	return snapshot, store.Key{}, nil
}

// continuation is what a continue token holds; clients take it as opaque.
type continuation struct {
	Revision  int64  `json:"rv"` // -1: whatever is newest
	Namespace string `json:"ns,omitempty"`
	Name      string `json:"name"`
}

func continueToken(revision uint64, last store.Key) string {
	return encodeContinuation(continuation{Revision: int64(revision), Namespace: last.Namespace, Name: last.Name})
}

func encodeContinuation(c continuation) string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // a struct of strings and a number
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

const (
	badContinueWords     = "continue key is not valid: "
	expiredContinueWords = "The provided continue parameter is too old to display a consistent list result. You can start a new list without " +
		"the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the " +
		"provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk " +
		"was returned and now may show up in the list."
)

func (c *call) continued(token string, stored schema.GroupResource) (store.Snapshot, store.Key, error) {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil {
		return store.Snapshot{}, store.Key{}, apierrors.NewBadRequest(badContinueWords + err.Error())
	}
	var from continuation
	if err := json.Unmarshal(data, &from); err != nil {
		return store.Snapshot{}, store.Key{}, apierrors.NewBadRequest(badContinueWords + err.Error())
	}
	after := store.Key{Resource: stored, Namespace: from.Namespace, Name: from.Name}
	if from.Revision < 0 {
		return c.store.List(stored, c.namespace), after, nil
	}
	snapshot, err := c.store.ListAt(stored, c.namespace, uint64(from.Revision))
	if errors.Is(err, store.ErrGone) || errors.Is(err, store.ErrFuture) {
		expired := apierrors.NewResourceExpired(expiredContinueWords)
		expired.ErrStatus.Continue = encodeContinuation(continuation{Revision: -1, Namespace: from.Namespace, Name: from.Name})
		return store.Snapshot{}, store.Key{}, expired
	}
	return snapshot, after, err
}

// writeList answers with a page, put together from the items' kept encodings.
func (c *call) writeList(format outputFormat, page listPage) error {
	if format.as == asTable {
		return c.writeTable(http.StatusOK, format, page.items, page.meta().ResourceVersion, &page)
	}
	if format.metadataOnly() {
		list := &metav1.PartialObjectMetadataList{ListMeta: page.meta(), Items: make([]metav1.PartialObjectMetadata, 0, len(page.items))}
		list.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind(asMetadataList))
		for _, item := range page.items {
			list.Items = append(list.Items, *metadataOf(c.resource, item.Object))
		}
		writeObject(c.w, c.r, http.StatusOK, format, list)
		return nil
	}
	body, err := c.encodeList(format, page)
	if err != nil {
		return err
	}
	writeBody(c.w, c.r, http.StatusOK, format.mediaType, body)
	return nil
}

func (c *call) encodeList(format outputFormat, page listPage) ([]byte, error) {
	encode := c.resource.itemJSON
	if format.mediaType == mediaProtobuf {
		encode = c.resource.itemMessage
	}
	items := make([][]byte, len(page.items))
	for i, item := range page.items {
		encoded, err := encode(item)
		if err != nil {
			return nil, err
		}
		items[i] = encoded
	}
	kind := c.resource.GroupVersionKind.GroupVersion().WithKind(c.resource.GroupVersionKind.Kind + "List")
	if format.mediaType == mediaProtobuf {
		return protobufList(kind, page.meta(), items)
	}
	raw, err := jsonList(kind, page.meta(), c.resource.GroupVersionKind, items)
	if err != nil {
		return nil, err
	}
	if format.mediaType == mediaYAML {
		return jsonToYAML(raw)
	}
	return finishJSON(raw, format)
}

// validateListOptions refuses combinations that Kubernetes refuses.
func validateListOptions(options *metav1.ListOptions) error {
	return invalidOptions("ListOptions", internalvalidation.ValidateListOptions(&internalversion.ListOptions{
		Watch:                options.Watch,
		ResourceVersion:      options.ResourceVersion,
		ResourceVersionMatch: options.ResourceVersionMatch,
		Continue:             options.Continue,
		Limit:                options.Limit,
		SendInitialEvents:    options.SendInitialEvents,
	}, true))
}
