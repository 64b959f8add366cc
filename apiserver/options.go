package apiserver

import (
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// writeOptions are what create, update and patch have in common.
type writeOptions struct {
	dryRun          bool
	fieldManager    string
	fieldValidation string // Strict, Warn or Ignore; never empty
	force           bool   // patch only
}

func (c *call) createOptions() (writeOptions, error) {
	var options metav1.CreateOptions
	if err := parseQuery(c, metav1.Convert_url_Values_To_v1_CreateOptions, &options); err != nil {
		return writeOptions{}, err
	}
	if err := invalidOptions("CreateOptions", metavalidation.ValidateCreateOptions(&options)); err != nil {
		return writeOptions{}, err
	}
	return newWriteOptions(options.DryRun, options.FieldManager, options.FieldValidation), nil
}

func (c *call) updateOptions() (writeOptions, error) {
	var options metav1.UpdateOptions
	if err := parseQuery(c, metav1.Convert_url_Values_To_v1_UpdateOptions, &options); err != nil {
		return writeOptions{}, err
	}
	if err := invalidOptions("UpdateOptions", metavalidation.ValidateUpdateOptions(&options)); err != nil {
		return writeOptions{}, err
	}
	return newWriteOptions(options.DryRun, options.FieldManager, options.FieldValidation), nil
}

func (c *call) patchOptions(patchType types.PatchType) (writeOptions, error) {
	var options metav1.PatchOptions
	if err := parseQuery(c, metav1.Convert_url_Values_To_v1_PatchOptions, &options); err != nil {
		return writeOptions{}, err
	}
	if err := invalidOptions("PatchOptions", metavalidation.ValidatePatchOptions(&options, patchType)); err != nil {
		return writeOptions{}, err
	}
	parsed := newWriteOptions(options.DryRun, options.FieldManager, options.FieldValidation)
	parsed.force = options.Force != nil && *options.Force
	return parsed, nil
}

func (c *call) listOptions() (*metav1.ListOptions, error) {
	options := new(metav1.ListOptions)
	if err := parseQuery(c, metav1.Convert_url_Values_To_v1_ListOptions, options); err != nil {
		return nil, err
	}
	return options, nil
}

func newWriteOptions(dryRun []string, manager, validation string) writeOptions {
	if validation == "" {
		validation = metav1.FieldValidationWarn
	}
	return writeOptions{dryRun: len(dryRun) > 0, fieldManager: manager, fieldValidation: validation}
}

// parseQuery reads the query parameters into options.
func parseQuery[T any](c *call, convert func(*url.Values, *T, conversion.Scope) error, options *T) error {
	query := c.r.URL.Query()
	if err := convert(&query, options, nil); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}
