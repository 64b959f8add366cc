package apiserver

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/kubelite/kubelite/apiserver/auth"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// selfReview is a resource that is only created, and never stored: the answer says who the sender is, or what it may do
// (kubectl auth whoami, can-i, can-i --list).
type selfReview struct {
	kind     schema.GroupVersionKind
	plural   string
	singular string
	new      func() Object
	// review fills in the status.
	review func(c *call, obj Object) error
}

var accessReview = authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview")

// selfReviews are all of them.
func selfReviews() []selfReview {
	return []selfReview{
		{
			authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), "selfsubjectreviews", "selfsubjectreview",
			func() Object { return new(authenticationv1.SelfSubjectReview) }, (*call).reviewSelf,
		},
		{
			accessReview, "selfsubjectaccessreviews", "selfsubjectaccessreview",
			func() Object { return new(authorizationv1.SelfSubjectAccessReview) }, (*call).reviewAccess,
		},
		{
			authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectRulesReview"), "selfsubjectrulesreviews", "selfsubjectrulesreview",
			func() Object { return new(authorizationv1.SelfSubjectRulesReview) }, (*call).reviewRules,
		},
	}
}

// discover is the review as discovery lists it.
func (review selfReview) discover() metav1.APIResource {
	return metav1.APIResource{Name: review.plural, SingularName: review.singular, Kind: review.kind.Kind, Verbs: []string{"create"}}
}

func (s *Server) routeSelfReviews(router chi.Router) {
	for _, review := range selfReviews() {
		router.Post(groupVersionPath(review.kind.GroupVersion())+"/"+review.plural, func(w http.ResponseWriter, r *http.Request) {
			c := &call{Server: s, w: w, r: r}
			if err := c.createReview(review); err != nil {
				writeError(w, r, err)
			}
		})
	}
}

func (c *call) createReview(review selfReview) error {
	if err := c.authorize(auth.Attributes{Verb: "create", Group: review.kind.Group, Resource: review.plural}); err != nil {
		return err
	}
	options, err := c.createOptions()
	if err != nil {
		return err
	}
	format, err := c.format()
	if err != nil {
		return err
	}
	obj := review.new()
	if err := c.decodeBody(review.kind, obj, options.fieldValidation); err != nil {
		return err
	}
	if err := review.review(c, obj); err != nil {
		return err
	}
	obj.SetManagedFields(nil)
	writeObject(c.w, c.r, http.StatusCreated, format, obj)
	return nil
}

// reviewSelf says who the sender is.
func (c *call) reviewSelf(obj Object) error {
	user := auth.UserFrom(c.r.Context())
	info := authenticationv1.UserInfo{Username: user.Name, UID: user.UID, Groups: user.Groups}
	for key, values := range user.Extra {
		if info.Extra == nil {
			info.Extra = map[string]authenticationv1.ExtraValue{}
		}
		info.Extra[key] = values
	}
	obj.SetCreationTimestamp(metav1.Now().Rfc3339Copy())
	obj.(*authenticationv1.SelfSubjectReview).Status.UserInfo = info
	return nil
}

// reviewAccess says whether the sender may do one thing.
func (c *call) reviewAccess(obj Object) error {
	review := obj.(*authorizationv1.SelfSubjectAccessReview)
	resource, path := review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes
	spec := field.NewPath("spec")
	var attributes auth.Attributes
	switch {
	case resource != nil && path != nil:
		return apierrors.NewInvalid(accessReview.GroupKind(), "", field.ErrorList{
			field.Invalid(spec.Child("nonResourceAttributes"), path, "cannot be specified in combination with resourceAttributes")})
	case resource != nil:
		attributes = auth.Attributes{
			Verb: resource.Verb, Group: resource.Group, Resource: resource.Resource, Subresource: resource.Subresource,
			Namespace: resource.Namespace, Name: resource.Name,
		}
	case path != nil:
		attributes = auth.Attributes{Verb: path.Verb, Path: path.Path}
	default:
		return apierrors.NewInvalid(accessReview.GroupKind(), "", field.ErrorList{
			field.Invalid(spec.Child("resourceAttributes"), path, "exactly one of nonResourceAttributes or resourceAttributes must be specified")})
	}
	allowed, reason := auth.Authorize(auth.UserFrom(c.r.Context()), attributes, c.Server)
	review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: allowed, Reason: reason}
	return nil
}
