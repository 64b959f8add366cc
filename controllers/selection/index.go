package selection

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

const (
	// bySelector finds Services by the first pair of their selector.
	bySelector = "services-by-selector"
	// byLabel finds Pods by every pair of their labels.
	byLabel = "pods-by-label"
)

// Index finds the Services of a Pod and the Pods of a Service without looking at all of a namespace. It may be used
// concurrently.
type Index struct {
	services, pods cache.Indexer
}

// NewIndex makes the index over the factory's Services and Pods, whose informers must not have started. Several share the work.
func NewIndex(factory informers.SharedInformerFactory) (*Index, error) {
	services, pods := factory.Core().V1().Services().Informer(), factory.Core().V1().Pods().Informer()
	if _, present := services.GetIndexer().GetIndexers()[bySelector]; !present {
		if err := services.AddIndexers(cache.Indexers{bySelector: selectorKeys}); err != nil {
			return nil, fmt.Errorf("index Services by selector: %w", err)
		}
		if err := pods.AddIndexers(cache.Indexers{byLabel: labelKeys}); err != nil {
			return nil, fmt.Errorf("index Pods by label: %w", err)
		}
	}
	return &Index{services: services.GetIndexer(), pods: pods.GetIndexer()}, nil
}

// pairKey is the key of a label in both indexes.
func pairKey(namespace, label, value string) string { return namespace + "/" + label + "=" + value }

// selectorKeys is one key for a Service with a selector, none for others: every Pod that it selects has that pair. An empty
// selector, which selects all Pods, has the key of its namespace.
func selectorKeys(obj any) ([]string, error) {
	service, ok := obj.(*corev1.Service)
	if !ok || service.Spec.Selector == nil {
		return nil, nil
	}
	if len(service.Spec.Selector) == 0 {
		return []string{service.Namespace}, nil
	}
	first := slices.Min(slices.Collect(maps.Keys(service.Spec.Selector)))
	return []string{pairKey(service.Namespace, first, service.Spec.Selector[first])}, nil
}

func labelKeys(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	keys := make([]string, 0, len(pod.Labels)+1)
	keys = append(keys, pod.Namespace)
	for label, value := range pod.Labels {
		keys = append(keys, pairKey(pod.Namespace, label, value))
	}
	return keys, nil
}

// ServicesOf returns the "namespace/name" keys of the Services that select one of the Pods, sorted: the old and the new state
// of one Pod usually.
func (i *Index) ServicesOf(pods ...*corev1.Pod) ([]string, error) {
	keys := map[string]struct{}{}
	for _, pod := range pods {
		pairs, err := labelKeys(pod)
		if err != nil {
			return nil, err
		}
		for _, pair := range pairs {
			found, err := i.services.ByIndex(bySelector, pair)
			if err != nil {
				return nil, fmt.Errorf("look up the Services of Pod %s/%s: %w", pod.Namespace, pod.Name, err)
			}
			for _, obj := range found {
				if service := obj.(*corev1.Service); Selects(service, pod) {
					keys[service.Namespace+"/"+service.Name] = struct{}{}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(keys)), nil
}

// PodsOf returns the Pods that a Service selects, in no order. They are shared: not to be changed.
func (i *Index) PodsOf(service *corev1.Service) ([]*corev1.Pod, error) {
	if service.Spec.Selector == nil {
		return nil, nil
	}
	candidates, err := i.candidates(service)
	if err != nil {
		return nil, fmt.Errorf("look up the Pods of Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	pods := make([]*corev1.Pod, 0, len(candidates))
	for _, obj := range candidates {
		if pod := obj.(*corev1.Pod); Selects(service, pod) {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// candidates are the Pods with the pair of the selector that the fewest have.
func (i *Index) candidates(service *corev1.Service) ([]any, error) {
	if len(service.Spec.Selector) == 0 {
		return i.pods.ByIndex(byLabel, service.Namespace)
	}
	var fewest []any
	first := true
	for label, value := range service.Spec.Selector {
		found, err := i.pods.ByIndex(byLabel, pairKey(service.Namespace, label, value))
		if err != nil {
			return nil, err
		}
		if first || len(found) < len(fewest) {
			fewest, first = found, false
		}
	}
	return fewest, nil
}
