package auth

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Attributes are what a request asks for. Either Resource or Path is set.
type Attributes struct {
	// Verb is get, list, watch, create, update, patch, delete or deletecollection; for a Path the lower-case HTTP method.
	Verb        string
	Group       string
	Resource    string // plural: "pods"
	Subresource string // "log"; empty for the resource itself
	Namespace   string // empty: cluster-scoped, or all namespaces
	// Name is empty for list, watch and deletecollection of many. On create it is the name in the object where the caller
	// has decoded it already, else empty.
	Name string
	// Path of a request for no resource: "/version".
	Path string
}

// Forbidden is the status error, 403, in Kubernetes' words. reason may be empty.
func Forbidden(user User, attributes Attributes, reason string) error {
	message := forbiddenMessage(user, attributes)
	if reason != "" {
		message += ": " + reason
	}
	resource := schema.GroupResource{Group: attributes.Group, Resource: attributes.Resource}
	return apierrors.NewForbidden(resource, attributes.Name, errors.New(message))
}

func forbiddenMessage(user User, attributes Attributes) string {
	if attributes.Resource == "" {
		return fmt.Sprintf("User %q cannot %s path %q", user.Name, attributes.Verb, attributes.Path)
	}
	resource := attributes.Resource
	if attributes.Subresource != "" {
		resource += "/" + attributes.Subresource
	}
	scope := "at the cluster scope"
	if attributes.Namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", attributes.Namespace)
	}
	return fmt.Sprintf("User %q cannot %s resource %q in API group %q %s",
		user.Name, attributes.Verb, resource, attributes.Group, scope)
}

// isHealthPath is true for what everyone may read.
func isHealthPath(path string) bool {
	return underAny(path, "/healthz", "/livez", "/readyz")
}

// isDiscoveryPath is true for what every authenticated user may read.
func isDiscoveryPath(path string) bool {
	return underAny(path, "/api", "/apis", "/openapi", "/version")
}

// underAny is true when path is one of the roots or below one.
func underAny(path string, roots ...string) bool {
	for _, root := range roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}
