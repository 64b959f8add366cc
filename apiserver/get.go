package apiserver

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// get answers GET of one object.
func (c *call) get() error {
	format, err := c.format(asTable, asMetadata)
	if err != nil {
		return err
	}
	var options metav1.GetOptions
	if err := parseQuery(c, metav1.Convert_url_Values_To_v1_GetOptions, &options); err != nil {
		return err
	}
	revision, err := parseRevision(options.ResourceVersion)
	if err != nil {
		return err
	}
	if current := c.store.Revision(); revision > current {
		return tooLargeError(revision, current)
	}
	item, err := c.store.Get(c.key())
	if err != nil {
		return storeError(c.resource.Kind, c.name, err)
	}
	return c.writeItem(http.StatusOK, format, item)
}

// parseRevision reads a resourceVersion; the empty one is 0.
func parseRevision(resourceVersion string) (uint64, error) {
	if resourceVersion == "" {
		return 0, nil
	}
	revision, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0, apierrors.NewBadRequest("resourceVersion: Invalid value: " + strconv.Quote(resourceVersion) + ": " + err.Error())
	}
	return revision, nil
}

// lookup is the object under the key, or nil.
func (s *Server) lookup(key store.Key) (*store.Item, error) {
	item, err := s.store.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return item, err
}
