package registry

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Object is an API object with its metadata: every type that a Kind serves.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kind is one row of the table of served kinds: everything that the generic handlers need to know of it.
// A nil function means "nothing to do"; none may keep or change the old object it is given. All are called
// concurrently.
type Kind struct {
	GroupVersionKind schema.GroupVersionKind
	Resource         string // plural, lower case: "pods"
	Singular         string
	ShortNames       []string
	Categories       []string
	Namespaced       bool
	// Volatile kinds are kept in memory only: Leases and Events.
	Volatile bool
	// Lifetime, if not 0, is how long an object stays after it was last written: an hour for Events.
	Lifetime time.Duration
	// CreateOnUpdate kinds are created by an update (PUT) or a patch that finds no object.
	CreateOnUpdate bool
	// ConditionalUpdate kinds refuse an update without a resourceVersion.
	ConditionalUpdate bool

	New     func() Object
	NewList func() runtime.Object
	// StoredAs, if not nil, says that this kind is only another version of a collection that is stored, watched and
	// indexed as another kind: events.k8s.io/v1 Events are v1 Events. New and NewList still make this kind's own type;
	// every other function takes and prints the stored kind's type.
	StoredAs *StoredAs

	// Begin is Admit's counterpart before anything else sees the object: after Default, before PrepareForCreate or
	// PrepareForUpdate and before validation, so that its errors come first (Kubernetes' BeginCreate and BeginUpdate). old
	// is nil on create. finish is as Admit's.
	Begin func(ctx context.Context, obj, old Object) (finish func(committed bool), err error)
	// Along are objects of other kinds that are written in the same transaction as obj takes the place of old: set are put
	// where there may be some already, removed go. obj is nil on deletion, old on create.
	Along func(obj, old Object) (set, removed []Object)
	// InUse reports whether an object that is being deleted is still needed by others; see the server's keepServiceCIDRs.
	InUse func(obj Object) bool

	// Default fills in what Kubernetes' defaulting fills in. It is run on every object that a client sends, after decoding.
	Default func(obj Object)
	// PrepareForCreate drops what a client may not set (status) before defaults and validation are seen by others.
	PrepareForCreate func(obj Object)
	// PrepareForUpdate carries over what an update of the main resource may not change (status) and
	// raises metadata.generation where the spec changed.
	PrepareForUpdate func(obj, old Object)
	// Validate checks a new object; object metadata is checked generically, by ValidateName and apimachinery.
	Validate func(obj Object) field.ErrorList
	// ValidateUpdate checks a changed object against the stored one.
	ValidateUpdate func(obj, old Object) field.ErrorList
	// ValidateName returns what is wrong with a name, in Kubernetes' words; prefix is true for a generateName.
	ValidateName func(name string, prefix bool) []string
	// Deprecated, if not empty, is sent as a Warning header with every answer about the kind, reads included.
	Deprecated string
	// Warnings are sent to the client as Warning headers; old is nil on create.
	Warnings func(obj, old Object) []string

	// Admit reserves what the object needs beyond itself (a ClusterIP, node ports; a namespace's finalizer, a
	// service account's volume) and writes it into obj. old is nil on create. It is called after validation and
	// before the write; on a dry run too. finish, if not nil, is called exactly once with whether the write was
	// committed, and gives back what was reserved if it was not, or what old held and obj no longer does if it was.
	// An error that is an apierrors.APIStatus is sent as it is.
	Admit func(ctx context.Context, obj, old Object) (finish func(committed bool), err error)
	// AdmitDelete refuses a deletion (the namespace "default"). It is called before anything is marked or removed.
	AdmitDelete func(ctx context.Context, obj Object) error
	// MarkDeleted is called on the copy of an object that gets its deletionTimestamp (a namespace becomes Terminating).
	MarkDeleted func(obj Object)
	// Held reports whether an object with a deletionTimestamp must stay although it has no metadata.finalizers and no
	// grace period left: a namespace with spec.finalizers.
	Held func(obj Object) bool
	// AfterDelete is called once after the object has left the store.
	AfterDelete func(obj Object)
	// Loaded is called for each stored object before the server answers its first request, so that allocators
	// know what is taken.
	Loaded func(obj Object)

	// GracePeriod says how many seconds a deletion leaves to the object's keeper, given what the client asked for
	// (nil: did not ask). nil function or 0: the object goes at once (finalizers permitting).
	GracePeriod func(obj Object, asked *int64) int64

	// Columns and Cells print the object as `kubectl get` does. len(Cells) == len(Columns).
	Columns []metav1.TableColumnDefinition
	Cells   func(obj Object) []any

	// Fields are the field-selector fields beyond metadata.name and metadata.namespace. May be nil.
	Fields func(obj Object) fields.Set

	// Status, if not nil, makes the /status subresource: updates of it change status only.
	Status *StatusStrategy
	// Finalize, if not nil, makes the /finalize subresource: PUT changes spec.finalizers only. An object that is
	// marked deleted and no longer Held after it is removed.
	Finalize *StatusStrategy
	// Scale, if not nil, makes the /scale subresource (autoscaling/v1 Scale).
	Scale *ScaleStrategy
}

// StoredAs says how a kind's objects are kept as another kind's. Neither function changes what it is given; both
// are lossless and keep metadata, and leave kind and apiVersion of the result empty.
type StoredAs struct {
	// Kind is the stored kind; rest looks its objects up, lists and watches them under Kind.GroupResource().
	Kind *Kind
	// ToStored makes the stored form of what a client sent; FromStored makes what a client is sent.
	ToStored   func(obj Object) Object
	FromStored func(stored Object) Object
}

// StatusStrategy is how /status (or /finalize) is updated.
type StatusStrategy struct {
	// PrepareForUpdate carries everything but status (for /finalize: but spec.finalizers) over from old.
	PrepareForUpdate func(obj, old Object)
	ValidateUpdate   func(obj, old Object) field.ErrorList
	// Warnings are sent to the client. nil: none.
	Warnings func(obj, old Object) []string
}

// ScaleStrategy reads and writes the replica count of a scalable kind.
type ScaleStrategy struct {
	Replicas    func(obj Object) (spec, status int32)
	SetReplicas func(obj Object, replicas int32)
	// Selector is the label selector of the scaled Pods, in its string form.
	Selector func(obj Object) string
}

// GroupResource names the kind's resource, as error texts do: "deployments.apps".
func (k *Kind) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.GroupVersionKind.Group, Resource: k.Resource}
}

// GroupVersionResource names the kind's resource in its version.
func (k *Kind) GroupVersionResource() schema.GroupVersionResource {
	return k.GroupVersionKind.GroupVersion().WithResource(k.Resource)
}
