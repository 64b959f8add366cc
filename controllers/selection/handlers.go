package selection

import (
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// ServiceHandler calls add with the "namespace/name" key of every Service that comes, changes or goes.
func ServiceHandler(add func(service string)) cache.ResourceEventHandler {
	addKey := func(obj any) { add(reconcile.ObjectKey(obj)) }
	return cache.ResourceEventHandlerFuncs{AddFunc: addKey, UpdateFunc: func(_, obj any) { addKey(obj) }, DeleteFunc: addKey}
}

// PodHandler calls add with the "namespace/name" keys of the Services to which it matters that a Pod came, changed or went.
func (i *Index) PodHandler(add func(service string)) cache.ResourceEventHandler {
	addServicesOf := func(pods ...*corev1.Pod) {
		keys, err := i.ServicesOf(pods...)
		if err != nil {
			slog.Error("look up the Services of a Pod", "error", err)
		}
		for _, key := range keys {
			add(key)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { addServicesOf(obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) {
			if before, pod := old.(*corev1.Pod), obj.(*corev1.Pod); Changed(before, pod) {
				addServicesOf(before, pod)
			}
		},
		DeleteFunc: func(obj any) {
			if pod, ok := reconcile.Deleted[*corev1.Pod](obj); ok {
				addServicesOf(pod)
			}
		},
	}
}
