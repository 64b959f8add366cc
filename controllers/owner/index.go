package owner

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

const indexName = "controller"

// AddIndex makes informer find its objects by controller, for ControlledBy and Orphans. Calling it again does nothing.
// It is not safe to call it concurrently for the same informer.
func AddIndex(informer cache.SharedIndexInformer) error {
	if _, present := informer.GetIndexer().GetIndexers()[indexName]; present {
		return nil
	}
	return informer.AddIndexers(cache.Indexers{indexName: indexKeys})
}

func indexKeys(obj any) ([]string, error) {
	object, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("index %T by controller: not an API object", obj)
	}
	if ref := metav1.GetControllerOfNoCopy(object); ref != nil {
		return []string{string(ref.UID)}, nil
	}
	return []string{orphansOf(object.GetNamespace())}, nil
}

// orphansOf is the index key of a namespace's objects without a controller. UIDs hold no slash.
func orphansOf(namespace string) string { return "orphans/" + namespace }

// ControlledBy returns the cached objects whose controller has the UID. They are shared: not to be changed.
func ControlledBy[T any](indexer cache.Indexer, controller types.UID) ([]T, error) {
	return byKey[T](indexer, string(controller))
}

// Orphans returns the cached objects of the namespace that no controller owns. They are shared: not to be changed.
func Orphans[T any](indexer cache.Indexer, namespace string) ([]T, error) {
	return byKey[T](indexer, orphansOf(namespace))
}

func byKey[T any](indexer cache.Indexer, key string) ([]T, error) {
	found, err := indexer.ByIndex(indexName, key)
	if err != nil {
		return nil, fmt.Errorf("look up objects by controller: %w", err)
	}
	objects := make([]T, 0, len(found))
	for _, obj := range found {
		object, ok := obj.(T)
		if !ok {
			return nil, fmt.Errorf("look up objects by controller: unexpected %T", obj)
		}
		objects = append(objects, object)
	}
	return objects, nil
}
