package apiserver

import (
	"errors"
	"fmt"
	"maps"

	"github.com/kubelite/kubelite/apiserver/auth"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What an agent may do depends on more than the policy in auth sees: on what is in the object. Kubernetes' counterpart is the
// admission plugin NodeRestriction; the words are its.

// restrictNodeToken lets an agent have tokens for the Pods of its node only. The reference has been checked otherwise.
func (c *call) restrictNodeToken(ref *authenticationv1.BoundObjectReference) error {
	node, isNode := auth.NodeOf(auth.UserFrom(c.r.Context()))
	if !isNode {
		return nil
	}
	words := ""
	switch {
	case ref == nil:
		words = "node requested token not bound to a pod"
	case ref.UID == "":
		words = "node requested token with a pod binding without a uid"
	default:
		if _, bound, found := c.Pod(c.namespace, ref.Name); found && bound == node {
			return nil
		}
		words = "node requested token bound to a pod scheduled on a different node"
	}
	return apierrors.NewForbidden(c.resource.GroupResource(), c.name, errors.New(words))
}

// restrictNodeChange keeps an agent from giving its Pods labels by which Services would select them.
func (c *call) restrictNodeChange(current, next Object) error {
	node, isNode := auth.NodeOf(auth.UserFrom(c.r.Context()))
	if !isNode || c.resource.GroupResource() != corev1.Resource("pods") || maps.Equal(current.GetLabels(), next.GetLabels()) {
		return nil
	}
	return apierrors.NewForbidden(c.resource.GroupResource(), c.name, fmt.Errorf("node %q cannot update labels through pod status", node))
}
