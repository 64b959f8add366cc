package apiserver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/kubelite/kubelite/apiserver/registry"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// nameAlphabet has no vowels and no look-alikes: Kubernetes' alphabet of generated names.
	nameAlphabet = "bcdfghjklmnpqrstvwxz2456789"
	suffixLength = 5
	// longestGenerated is how much of a generateName is kept, so that name and suffix fit into 63 characters.
	longestGenerated = 63 - suffixLength
)

// namespaces is the resource that others live in.
var namespaces = schema.GroupResource{Resource: "namespaces"}

// matchRequest fills in the namespace of the request and refuses an object that names another object than the URL does.
func (c *call) matchRequest(obj Object) error {
	if c.name != "" {
		switch obj.GetName() {
		case "":
			return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", c.name))
		case c.name:
		default:
			return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), c.name))
		}
	}
	switch obj.GetNamespace() {
	case c.namespace:
	case "":
		obj.SetNamespace(c.namespace)
	default:
		if c.name != "" {
			return apierrors.NewBadRequest(fmt.Sprintf("the namespace of the object (%s) does not match the namespace on the request (%s)", obj.GetNamespace(), c.namespace))
		}
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// requireNamespace refuses new objects in a namespace that is not there or is going.
func (c *call) requireNamespace(name string) error {
	if !c.resource.Namespaced {
		return nil
	}
	item, err := c.store.Get(namespaceKey(c.namespace))
	if err != nil {
		return apierrors.NewNotFound(namespaces, c.namespace)
	}
	namespace, ok := item.Object.(*corev1.Namespace)
	if !ok {
		return fmt.Errorf("namespace %s is a %T", c.namespace, item.Object)
	}
	if namespace.Status.Phase != corev1.NamespaceTerminating && namespace.DeletionTimestamp == nil {
		return nil
	}
	refused := apierrors.NewForbidden(c.resource.GroupResource(), name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", c.namespace))
	refused.ErrStatus.Details.Causes = append(refused.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", c.namespace),
		Field:   "metadata.namespace",
	})
	return refused
}

// stampNew sets what the server, and nobody else, says of a new object.
func (s *Server) stampNew(obj Object) {
	obj.SetUID(types.UID(uuid.NewString()))
	obj.SetCreationTimestamp(metav1.Now().Rfc3339Copy())
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
	obj.SetResourceVersion("")
	if obj.GetName() == "" && obj.GetGenerateName() != "" {
		obj.SetName(s.generateName(obj.GetGenerateName()))
	}
}

// generateName appends five random letters and digits.
func (s *Server) generateName(prefix string) string {
	if len(prefix) > longestGenerated {
		prefix = prefix[:longestGenerated]
	}
	var name strings.Builder
	name.WriteString(prefix)
	for range suffixLength {
		name.WriteByte(nameAlphabet[s.random.IntN(len(nameAlphabet))])
	}
	return name.String()
}

// validateNew checks metadata and object.
func validateNew(kind *registry.Kind, obj Object) error {
	errs := metavalidation.ValidateObjectMetaAccessor(obj, kind.Namespaced, nameValidator(kind), field.NewPath("metadata"))
	if kind.Validate != nil {
		errs = append(errs, kind.Validate(obj)...)
	}
	return invalid(kind, obj, errs)
}

// nameValidator allows every name that is a path segment where the kind says nothing else.
func nameValidator(kind *registry.Kind) metavalidation.ValidateNameFunc {
	if kind.ValidateName == nil {
		return metavalidation.NameIsDNSSubdomain
	}
	return kind.ValidateName
}

// validateChange checks metadata, which gets what a client may leave out of it, and object.
func validateChange(kind *registry.Kind, validate func(obj, old registry.Object) field.ErrorList, obj, old Object) error {
	errs := metavalidation.ValidateObjectMetaAccessorUpdate(obj, old, field.NewPath("metadata"))
	if validate != nil {
		errs = append(errs, validate(obj, old)...)
	}
	return invalid(kind, obj, errs)
}

func invalid(kind *registry.Kind, obj Object, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(kind.GroupVersionKind.GroupKind(), obj.GetName(), errs)
}

// checkIdentity refuses an update that was meant for another object of the same name, or for another version.
func (c *call) checkIdentity(obj, current Object) error {
	if uid := obj.GetUID(); uid != "" && uid != current.GetUID() {
		return c.otherUIDError(uid, current.GetUID())
	}
	if version := obj.GetResourceVersion(); version != "" && version != current.GetResourceVersion() {
		return apierrors.NewConflict(c.resource.GroupResource(), current.GetName(), errors.New(modifiedWords))
	}
	return nil
}

// otherUIDError is the conflict of a write that was meant for another object of the same name.
func (c *call) otherUIDError(asked, found types.UID) error {
	words := fmt.Sprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", asked, found)
	return apierrors.NewConflict(c.resource.GroupResource(), c.name, errors.New(words))
}
