package served

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Kind is a kind whose objects can be listed, watched and deleted.
type Kind struct {
	Resource   schema.GroupVersionResource
	Kind       string
	Namespaced bool
}

// Kinds is what Discover found, sorted by group and resource. It does not change and may be read concurrently.
type Kinds struct {
	all    []Kind
	byKind map[schema.GroupKind]Kind
}

// NewKinds makes Kinds of the given ones.
func NewKinds(all []Kind) *Kinds {
	kinds := &Kinds{all: slices.Clone(all), byKind: make(map[schema.GroupKind]Kind, len(all))}
	slices.SortFunc(kinds.all, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(a.Resource.Group, b.Resource.Group), cmp.Compare(a.Resource.Resource, b.Resource.Resource))
	})
	for _, kind := range kinds.all {
		kinds.byKind[schema.GroupKind{Group: kind.Resource.Group, Kind: kind.Kind}] = kind
	}
	return kinds
}

// Discover asks the API server for its kinds, each in the version it prefers.
func Discover(client discovery.DiscoveryInterface) (*Kinds, error) {
	lists, err := client.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("discover the served kinds: %w", err)
	}
	var all []Kind
	for _, list := range lists {
		groupVersion, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("discover the served kinds: %w", err)
		}
		for _, resource := range list.APIResources {
			if !isCollection(resource) {
				continue
			}
			all = append(all, Kind{
				Resource:   groupVersion.WithResource(resource.Name),
				Kind:       resource.Kind,
				Namespaced: resource.Namespaced,
			})
		}
	}
	return NewKinds(all), nil
}

func isCollection(resource metav1.APIResource) bool {
	for _, verb := range []string{"list", "watch", "delete"} {
		if !slices.Contains(resource.Verbs, verb) {
			return false
		}
	}
	return true
}

// All returns every kind; the slice is not to be changed.
func (k *Kinds) All() []Kind { return k.all }

// Of finds a kind as an owner reference names it, in whatever version; ok is false if it is not served.
func (k *Kinds) Of(apiVersion, kind string) (found Kind, ok bool) {
	groupVersion, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return Kind{}, false
	}
	found, ok = k.byKind[schema.GroupKind{Group: groupVersion.Group, Kind: kind}]
	return found, ok
}
