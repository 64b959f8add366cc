package apiserver

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/kubelite/kubelite/apiserver/registry"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	applyconfigurations "k8s.io/client-go/applyconfigurations"
)

// fieldManagers keep who owns which field. They are made at the first server-side apply, because their schema costs
// some megabytes: an object that was never applied by the server has no managedFields, and its owners until then are known
// as "before-first-apply", but for kubectl's part (ownAppliedByClient).
type fieldManagers struct {
	types func() managedfields.TypeConverter

	mu    sync.Mutex
	known map[fieldManagerKey]*managedfields.FieldManager
}

type fieldManagerKey struct {
	resource    *resource
	subresource string
}

func newFieldManagers() *fieldManagers {
	return &fieldManagers{
		types: sync.OnceValue(func() managedfields.TypeConverter {
			defer debug.FreeOSMemory() // parsing leaves more garbage than all else that the server does
			return applyconfigurations.NewTypeConverter(registry.Scheme)
		}),
		known: map[fieldManagerKey]*managedfields.FieldManager{},
	}
}

func (f *fieldManagers) of(res *resource, subresource string) (*managedfields.FieldManager, error) {
	types := f.types()
	f.mu.Lock()
	defer f.mu.Unlock()
	key := fieldManagerKey{res, subresource}
	if manager, ok := f.known[key]; ok {
		return manager, nil
	}
	kind := res.GroupVersionKind
	manager, err := managedfields.NewDefaultFieldManager(types, runtime.UnsafeObjectConvertor(registry.Scheme),
		kindDefaulter{res}, registry.Scheme, kind, kind.GroupVersion(), subresource, nil)
	if err != nil {
		return nil, fmt.Errorf("make field manager of %s: %w", res.GroupResource(), err)
	}
	f.known[key] = manager
	return manager, nil
}

// kindDefaulter lets the field manager fill in the kind's defaults.
type kindDefaulter struct{ resource *resource }

func (d kindDefaulter) Default(in runtime.Object) {
	obj, ok := in.(Object)
	if ok && d.resource.Kind.Default != nil && d.resource.StoredAs == nil {
		d.resource.Kind.Default(obj)
	}
}

// trackManagedFields notes a change by other means than apply, where the object has managed fields at all.
func (c *call) trackManagedFields(ch change, current, next Object) {
	if len(current.GetManagedFields()) == 0 {
		next.SetManagedFields(nil)
		return
	}
	manager, err := c.fieldManagers.of(c.resource, ch.subresource)
	if err != nil {
		slog.Error("managed fields not updated", "resource", c.resource.GroupResource(), "name", c.name, "error", err)
		next.SetManagedFields(current.GetManagedFields())
		return
	}
	wire := c.resource.wire(next)
	manager.UpdateNoErrors(c.resource.wire(current).DeepCopyObject(), wire, c.managerName(ch.options))
	next.SetManagedFields(wire.GetManagedFields())
}

// ownAppliedByClient gives kubectl what `kubectl apply` set without --server-side, as if that had been noted then. All other fields are
// "before-first-apply"'s. kubectl takes over the fields of whoever owns its annotation, and its next apply removes those that it does not set.
func (c *call) ownAppliedByClient(manager *managedfields.FieldManager, live Object) {
	text := live.GetAnnotations()[corev1.LastAppliedConfigAnnotation]
	set := c.resource.New()
	if text == "" || json.Unmarshal([]byte(text), set) != nil { // somebody else's idea of the annotation
		return
	}
	set.GetObjectKind().SetGroupVersionKind(c.resource.GroupVersionKind)
	annotations := maps.Clone(set.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = text
	set.SetAnnotations(annotations)
	empty := c.resource.New()
	empty.GetObjectKind().SetGroupVersionKind(c.resource.GroupVersionKind)
	manager.UpdateNoErrors(empty, set, "kubectl-client-side-apply")
	live.SetManagedFields(set.GetManagedFields())
	manager.UpdateNoErrors(set, live, "before-first-apply")
}

// managerName is the client's name for itself, or else its program's.
func (c *call) managerName(options writeOptions) string {
	if options.fieldManager != "" {
		return options.fieldManager
	}
	program, _, _ := strings.Cut(c.r.UserAgent(), "/")
	return program
}
