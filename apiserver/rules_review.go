package apiserver

import (
	"github.com/kubelite/kubelite/apiserver/auth"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// readablePaths are what reviewRules asks the policy about, each with the pattern that it stands for.
var readablePaths = []struct{ path, pattern string }{
	{"/api", "/api"}, {"/api/any", "/api/*"}, {"/apis", "/apis"}, {"/apis/any", "/apis/*"},
	{"/healthz", "/healthz"}, {"/livez", "/livez"}, {"/openapi", "/openapi"}, {"/openapi/any", "/openapi/*"},
	{"/readyz", "/readyz"}, {"/version", "/version"},
}

// reviewRules lists what the sender may do in a namespace. The policy is a program, not a list: the rules are its answers for
// every resource that is served and every verb, for no object in particular.
func (c *call) reviewRules(obj Object) error {
	review := obj.(*authorizationv1.SelfSubjectRulesReview)
	if review.Spec.Namespace == "" {
		return apierrors.NewBadRequest("no namespace on request")
	}
	status := &review.Status
	status.ResourceRules, status.NonResourceRules = []authorizationv1.ResourceRule{}, []authorizationv1.NonResourceRule{}
	user := auth.UserFrom(c.r.Context())
	may := func(attributes auth.Attributes) bool {
		allowed, _ := auth.Authorize(user, attributes, c.Server)
		return allowed
	}
	all := []string{"*"}
	if may(auth.Attributes{Verb: "*", Group: "*", Resource: "*", Namespace: review.Spec.Namespace}) {
		status.ResourceRules = append(status.ResourceRules, authorizationv1.ResourceRule{Verbs: all, APIGroups: all, Resources: all})
		status.NonResourceRules = append(status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: all, NonResourceURLs: all})
		return nil
	}
	status.ResourceRules = c.resourceRules(review.Spec.Namespace, may)
	for _, known := range readablePaths {
		if may(auth.Attributes{Verb: "get", Path: known.path}) {
			status.NonResourceRules = append(status.NonResourceRules, authorizationv1.NonResourceRule{
				Verbs: []string{"get"}, NonResourceURLs: []string{known.pattern}})
		}
	}
	return nil
}

func (c *call) resourceRules(namespace string, may func(auth.Attributes) bool) []authorizationv1.ResourceRule {
	rules := []authorizationv1.ResourceRule{}
	add := func(attributes auth.Attributes, verbs []string) {
		var allowed []string
		for _, verb := range verbs {
			attributes.Verb = verb
			if may(attributes) {
				allowed = append(allowed, verb)
			}
		}
		if allowed == nil {
			return
		}
		name := attributes.Resource
		if attributes.Subresource != "" {
			name += "/" + attributes.Subresource
		}
		rules = append(rules, authorizationv1.ResourceRule{Verbs: allowed, APIGroups: []string{attributes.Group}, Resources: []string{name}})
	}
	for _, res := range c.resources {
		attributes := auth.Attributes{Group: res.GroupVersionKind.Group, Resource: res.Resource}
		if res.Namespaced {
			attributes.Namespace = namespace
		}
		add(attributes, resourceVerbs)
		for _, sub := range res.subresources() {
			attributes.Subresource = sub.name
			add(attributes, sub.verbs())
		}
	}
	for _, review := range selfReviews() {
		add(auth.Attributes{Group: review.kind.Group, Resource: review.plural}, []string{"create"})
	}
	return rules
}
