package reconcile

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StripManagedFields is the transform of informers whose objects nobody asks who wrote them: managed fields are often half
// of an object. An update sent without them keeps those that the API server has.
func StripManagedFields(obj any) (any, error) {
	if object, ok := obj.(metav1.Object); ok {
		object.SetManagedFields(nil)
	}
	return obj, nil
}
