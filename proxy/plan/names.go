package plan

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// CompareNames orders names by namespace, then by name.
func CompareNames(a, b types.NamespacedName) int {
	if a.Namespace != b.Namespace {
		return strings.Compare(a.Namespace, b.Namespace)
	}
	return strings.Compare(a.Name, b.Name)
}

// SortedNames are the names of what byName holds, in CompareNames' order.
func SortedNames[V any](byName map[types.NamespacedName]V) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(byName), CompareNames)
}
