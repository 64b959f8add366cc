package objects

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubelite/kubelite/internal/mirror"
)

const (
	configMaps = "configmap" // as the kubelet names them in its errors
	secrets    = "secret"
)

type key struct{ kind, namespace, name string }

// entry is one object that Pods refer to.
type entry struct {
	pods   int
	cancel context.CancelFunc
	mirror *mirror.Mirror
	served string // resource version of what was read directly
}

// Cache may be used concurrently. Run's context ends its watches.
type Cache struct {
	client  kubernetes.Interface
	ctx     context.Context
	changed func(namespace string)

	mutex   sync.Mutex
	entries map[key]*entry
	pods    map[types.UID][]key
}

// New returns a cache whose watches end with ctx. changed is called, from several goroutines, when an object that a registered Pod
// refers to has changed, come or gone.
func New(ctx context.Context, client kubernetes.Interface, changed func(namespace string)) *Cache {
	return &Cache{client: client, ctx: ctx, changed: changed, entries: map[key]*entry{}, pods: map[types.UID][]key{}}
}

// Register watches what the Pod refers to. A Pod that is registered stays as it is: its references cannot change.
func (c *Cache) Register(pod *v1.Pod) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if _, known := c.pods[pod.UID]; known {
		return
	}
	keys := references(pod)
	c.pods[pod.UID] = keys
	for _, key := range keys {
		if c.entries[key] == nil {
			c.entries[key] = c.watch(key)
		}
		c.entries[key].pods++
	}
}

// Unregister ends the watches that no other Pod needs.
func (c *Cache) Unregister(uid types.UID) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, key := range c.pods[uid] {
		entry := c.entries[key]
		if entry.pods--; entry.pods == 0 {
			entry.cancel()
			delete(c.entries, key)
		}
	}
	delete(c.pods, uid)
}

// watch is called with the mutex held.
func (c *Cache) watch(key key) *entry {
	ctx, cancel := context.WithCancel(c.ctx)
	entry := &entry{cancel: cancel}
	options := mirror.Options{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", key.name).String(),
		Transform:     StripManagedFields,
		Changed: func(object any) {
			if accessor, err := meta.Accessor(object); err == nil {
				c.mutex.Lock()
				known := entry.served != "" && entry.served == accessor.GetResourceVersion()
				c.mutex.Unlock()
				if known || accessor.GetName() != key.name {
					return
				}
			}
			c.changed(key.namespace)
		},
	}
	if key.kind == configMaps {
		entry.mirror = mirror.New(c.client, c.client.CoreV1().ConfigMaps(key.namespace), &v1.ConfigMap{}, options)
	} else {
		entry.mirror = mirror.New(c.client, c.client.CoreV1().Secrets(key.namespace), &v1.Secret{}, options)
	}
	go entry.mirror.Run(ctx)
	return entry
}

// StripManagedFields keeps what the agent never reads out of its memory: a cache.TransformFunc. What it is given stays as it is, for another
// may have it as well.
func StripManagedFields(object any) (any, error) {
	switch object := object.(type) {
	case *v1.Pod:
		stripped := *object
		stripped.ManagedFields = nil
		return &stripped, nil
	case *v1.Node:
		stripped := *object
		stripped.ManagedFields = nil
		return &stripped, nil
	case *v1.Service:
		stripped := *object
		stripped.ManagedFields = nil
		return &stripped, nil
	case *v1.ConfigMap:
		stripped := *object
		stripped.ManagedFields = nil
		return &stripped, nil
	case *v1.Secret:
		stripped := *object
		stripped.ManagedFields = nil
		return &stripped, nil
	}
	return object, nil
}

// ConfigMap returns it, or an error of which apierrors.IsNotFound is true.
func (c *Cache) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	key := key{configMaps, namespace, name}
	if object, synced := c.cached(key); synced {
		if object == nil {
			return nil, notFound(key)
		}
		return object.(*v1.ConfigMap), nil
	}
	configMap, err := c.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	return configMap, c.read(key, configMap, err)
}

// Secret returns it, or an error of which apierrors.IsNotFound is true.
func (c *Cache) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	key := key{secrets, namespace, name}
	if object, synced := c.cached(key); synced {
		if object == nil {
			return nil, notFound(key)
		}
		return object.(*v1.Secret), nil
	}
	secret, err := c.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	return secret, c.read(key, secret, err)
}

// cached returns what the watch knows; synced is false if there is no watch, or it has not caught up.
func (c *Cache) cached(key key) (object any, synced bool) {
	c.mutex.Lock()
	entry := c.entries[key]
	c.mutex.Unlock()
	if entry == nil || !entry.mirror.HasSynced() {
		return nil, false
	}
	object, exists, err := entry.mirror.Objects().GetByKey(key.namespace + "/" + key.name)
	if err != nil || !exists {
		return nil, err == nil
	}
	return object, true
}

func (c *Cache) read(key key, object metav1.Object, err error) error {
	if apierrors.IsNotFound(err) {
		return notFound(key)
	}
	if err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if entry := c.entries[key]; entry != nil {
		entry.served = object.GetResourceVersion()
	}
	return nil
}

func notFound(key key) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: key.kind}, key.name)
}
