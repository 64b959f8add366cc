// Package mirror keeps a local copy of one resource of the API server, and says what changed.
//
// It is client-go's Reflector with a plain indexed store behind it. The usual shared informer has a queue and a goroutine for
// each listener in between, and after an outage of the API server it may wait 30 seconds before it looks again. A mirror
// looks again after a second at most, and its listener hears of a change before the next event is read.
package mirror

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Resource lists and watches: every typed client of client-go is one.
type Resource[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// Options say what a mirror holds.
type Options struct {
	// LabelSelector chooses the objects; empty for all.
	LabelSelector string
	// FieldSelector chooses the objects as well; empty for all.
	FieldSelector string
	// Indexers are those of the local copy; nil for none.
	Indexers cache.Indexers
	// Transform changes each object before it is kept, as client-go's informers do it; nil to keep all of it.
	Transform cache.TransformFunc
	// Changed is called with every object that came or went, and with both versions of one that changed, after the local
	// copy changed. It is called by one goroutine. Nil for no one.
	Changed func(object any)
}

// Mirror is a local copy. Its methods may be called concurrently.
type Mirror struct {
	store     *store
	reflector *cache.Reflector
}

// New makes a mirror of the objects of example's type; Run fills it.
func New[L runtime.Object](client kubernetes.Interface, resource Resource[L], example runtime.Object, options Options) *Mirror {
	s := &store{
		Indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, options.Indexers),
		options: options,
		synced:  make(chan struct{}),
	}
	return &Mirror{s, NewReflector(client, resource, example, options, s)}
}

// NewReflector makes a client-go reflector that keeps target as the API server has it, for those who keep something else than
// objects. Of the options only the selectors count.
func NewReflector[L runtime.Object](client kubernetes.Interface, resource Resource[L], example runtime.Object, options Options, target cache.ReflectorStore) *cache.Reflector {
	list := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, listOptions metav1.ListOptions) (runtime.Object, error) {
			listOptions.LabelSelector, listOptions.FieldSelector = options.LabelSelector, options.FieldSelector
			return resource.List(ctx, listOptions)
		},
		WatchFuncWithContext: func(ctx context.Context, listOptions metav1.ListOptions) (watch.Interface, error) {
			listOptions.LabelSelector, listOptions.FieldSelector = options.LabelSelector, options.FieldSelector
			return resource.Watch(ctx, listOptions)
		},
	}
	// The API server is one, and near: asking it every second does no harm.
	backoff := &wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: time.Second}
	return cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(list, client), example, target,
		cache.ReflectorOptions{Backoff: backoff})
}

// Run keeps the copy up to date until ctx is done.
func (m *Mirror) Run(ctx context.Context) { m.reflector.RunWithContext(ctx) }

// Objects is the local copy. What is in it must not be changed.
func (m *Mirror) Objects() cache.Indexer { return m.store.Indexer }

// Synced is closed when the first complete list is there.
func (m *Mirror) Synced() <-chan struct{} { return m.store.synced }

// HasSynced says whether the first complete list is there.
func (m *Mirror) HasSynced() bool {
	select {
	case <-m.store.synced:
		return true
	default:
		return false
	}
}

// store is what the reflector writes into. It does so from one goroutine.
type store struct {
	cache.Indexer
	options Options
	once    sync.Once
	synced  chan struct{}
}

func (s *store) transform(object any) (any, error) {
	if s.options.Transform == nil {
		return object, nil
	}
	return s.options.Transform(object)
}

func (s *store) changed(object any) {
	if s.options.Changed != nil {
		s.options.Changed(object)
	}
}

// Add implements cache.ReflectorStore.
func (s *store) Add(object any) error { return s.Update(object) }

// Update implements cache.ReflectorStore.
func (s *store) Update(object any) error {
	object, err := s.transform(object)
	if err != nil {
		return err
	}
	old, exists, err := s.Indexer.Get(object)
	if err != nil {
		return err
	}
	if err := s.Indexer.Update(object); err != nil {
		return err
	}
	if exists {
		s.changed(old)
	}
	s.changed(object)
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *store) Delete(object any) error {
	old, exists, err := s.Indexer.Get(object)
	if err != nil || !exists {
		return err
	}
	if err := s.Indexer.Delete(old); err != nil {
		return err
	}
	s.changed(old)
	return nil
}

// Replace implements cache.ReflectorStore. Objects may have changed while nobody watched, so all count as changed.
func (s *store) Replace(objects []any, resourceVersion string) error {
	for i := range objects {
		var err error
		if objects[i], err = s.transform(objects[i]); err != nil {
			return err
		}
	}
	old := s.Indexer.List()
	if err := s.Indexer.Replace(objects, resourceVersion); err != nil {
		return err
	}
	for _, object := range old {
		s.changed(object)
	}
	for _, object := range s.Indexer.List() {
		s.changed(object)
	}
	s.once.Do(func() { close(s.synced) })
	return nil
}
