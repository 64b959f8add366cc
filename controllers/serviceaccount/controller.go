package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

const (
	workers     = 2
	accountName = "default"
	rootCAName  = "kube-root-ca.crt"
	rootCAKey   = "ca.crt"

	descriptionAnnotation = "kubernetes.io/description"
	rootCADescription     = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints " +
		"such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)

// Controller makes the two objects in every namespace.
type Controller struct {
	client     kubernetes.Interface
	rootCA     string
	namespaces corelisters.NamespaceLister
	accounts   corelisters.ServiceAccountLister
	configMaps corelisters.ConfigMapLister
	own        []informers.SharedInformerFactory
	synced     []cache.DoneChecker
	queue      *reconcile.Queue[string]
}

// New makes the controller over the factory's Namespaces and over informers of its own, which see nothing but the objects
// of the two names. rootCA is in PEM. It does nothing before Run.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, rootCA []byte) (*Controller, error) {
	accountFactory, configMapFactory := onlyNamed(client, accountName), onlyNamed(client, rootCAName)
	namespaces := factory.Core().V1().Namespaces()
	accounts, configMaps := accountFactory.Core().V1().ServiceAccounts(), configMapFactory.Core().V1().ConfigMaps()
	c := &Controller{
		client:     client,
		rootCA:     string(rootCA),
		namespaces: namespaces.Lister(),
		accounts:   accounts.Lister(),
		configMaps: configMaps.Lister(),
		own:        []informers.SharedInformerFactory{accountFactory, configMapFactory},
	}
	c.queue = reconcile.NewQueue("serviceaccount", c.sync)
	addNamespaceOf := func(obj any) {
		if object, ok := reconcile.Deleted[metav1.Object](obj); ok {
			c.queue.Add(object.GetNamespace())
		}
	}
	addNamespace := func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) }
	for _, watched := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandlerFuncs
	}{
		{namespaces.Informer(), cache.ResourceEventHandlerFuncs{AddFunc: addNamespace, UpdateFunc: func(_, obj any) { addNamespace(obj) }}},
		{accounts.Informer(), cache.ResourceEventHandlerFuncs{DeleteFunc: addNamespaceOf}},
		{configMaps.Informer(), cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, obj any) { addNamespaceOf(obj) }, DeleteFunc: addNamespaceOf}},
	} {
		handled, err := watched.informer.AddEventHandler(watched.handler)
		if err != nil {
			return nil, fmt.Errorf("watch for the serviceaccount controller: %w", err)
		}
		c.synced = append(c.synced, handled.HasSyncedChecker())
	}
	return c, nil
}

func onlyNamed(client kubernetes.Interface, name string) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTransform(reconcile.StripManagedFields),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}))
}

// Run works until ctx is done. It waits for its caches; the shared ones are started by the caller.
func (c *Controller) Run(ctx context.Context) {
	for _, factory := range c.own {
		factory.StartWithContext(ctx)
		defer factory.Shutdown()
	}
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, workers)
	}
}

// sync makes what the namespace lacks.
func (c *Controller) sync(ctx context.Context, name string) error {
	namespace, err := c.namespaces.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync Namespace %s: %w", name, err)
	}
	if namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating {
		return nil
	}
	return errors.Join(c.ensureAccount(ctx, name), c.ensureRootCA(ctx, name))
}

func (c *Controller) ensureAccount(ctx context.Context, namespace string) error {
	_, err := c.accounts.ServiceAccounts(namespace).Get(accountName)
	if !apierrors.IsNotFound(err) {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: accountName, Namespace: namespace}}
	_, err = c.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	return created(err, "ServiceAccount", namespace, accountName)
}

func (c *Controller) ensureRootCA(ctx context.Context, namespace string) error {
	configMaps := c.client.CoreV1().ConfigMaps(namespace)
	wanted := map[string]string{rootCAKey: c.rootCA}
	current, err := c.configMaps.ConfigMaps(namespace).Get(rootCAName)
	if apierrors.IsNotFound(err) {
		_, err := configMaps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: rootCAName, Namespace: namespace, Annotations: map[string]string{descriptionAnnotation: rootCADescription}},
			Data:       wanted,
		}, metav1.CreateOptions{})
		return created(err, "ConfigMap", namespace, rootCAName)
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %s/%s: %w", namespace, rootCAName, err)
	}
	if maps.Equal(current.Data, wanted) && len(current.BinaryData) == 0 && current.Annotations[descriptionAnnotation] != "" {
		return nil
	}
	changed := current.DeepCopy()
	changed.Data, changed.BinaryData = wanted, nil
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, descriptionAnnotation, rootCADescription)
	if _, err := configMaps.Update(ctx, changed, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("update ConfigMap %s/%s: %w", namespace, rootCAName, err)
	}
	return nil
}

// created words a failed creation; it is none if the object is there already, or its namespace is going or gone.
func created(err error, kind, namespace, name string) error {
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("create %s %s/%s: %w", kind, namespace, name, err)
}
