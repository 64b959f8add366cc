package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"syscall"

	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// modifiedWords is the cause in Kubernetes' answer to a lost race between writers.
const modifiedWords = "the object has been modified; please apply your changes to the latest version and try again"

// statusOf turns any error into the Status that a client sees. An error that is not an API status is the server's own
// fault: 500 InternalError.
func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = internalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if status.Code == 0 {
		status.Code = http.StatusInternalServerError
	}
	return status
}

// internalError is 500 in Kubernetes' words; or 507 where the disk refuses writes, with what to do about it: reads go on, and
// writes will when the cause is gone.
func internalError(err error) *apierrors.StatusError {
	status := apierrors.NewInternalError(err)
	remedy := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "the disk that holds the cluster's state is full; make room on it"
	case errors.Is(err, syscall.EROFS):
		remedy = "the disk that holds the cluster's state is read-only; remount it writable"
	case errors.Is(err, syscall.EIO):
		remedy = "the disk that holds the cluster's state cannot be written; look at the kernel's log"
	default:
		return status
	}
	status.ErrStatus.Code = http.StatusInsufficientStorage
	status.ErrStatus.Message += ": " + remedy
	return status
}

// writeError answers with err as a Status. It must come before anything else is written.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client has gone
	}
	status := statusOf(err)
	if status.Code >= http.StatusInternalServerError && status.Reason != metav1.StatusReasonTimeout { // a revision from another server
		slog.Error("request not served", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	format, formatErr := negotiate(r, nil)
	if formatErr != nil {
		format = outputFormat{mediaType: mediaJSON}
	}
	writeObject(w, r, int(status.Code), format, &status)
}

// storeError says in Kubernetes' words what the store refused.
func storeError(kind *registry.Kind, name string, err error) error {
	resource := kind.GroupResource()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return apierrors.NewNotFound(resource, name)
	case errors.Is(err, store.ErrExists):
		return apierrors.NewAlreadyExists(resource, name)
	case errors.Is(err, store.ErrConflict):
		return apierrors.NewConflict(resource, name, errors.New(modifiedWords))
	case errors.Is(err, store.ErrGone):
		return apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
	default:
		return fmt.Errorf("%s %q: %w", resource, name, err)
	}
}

// tooOldError is the Status of a watch whose revision is no longer kept.
func tooOldError(asked, oldest uint64) *apierrors.StatusError {
	return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", asked, oldest))
}

// tooLargeError answers a list or watch at a revision that the store has not reached.
func tooLargeError(asked, current uint64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", asked, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type:    metav1.CauseTypeResourceVersionTooLarge,
		Message: "Too large resource version",
	}}
	return err
}

// notAcceptableError is Kubernetes' 406.
func notAcceptableError(accepted string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusNotAcceptable,
		Reason:  metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: " + accepted,
	}}
}

// unsupportedMediaTypeError is Kubernetes' 415.
func unsupportedMediaTypeError(accepted string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusUnsupportedMediaType,
		Reason:  metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " + accepted,
	}}
}
