package registry

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	defaultServiceAccount = "default"
	// defaultServiceAccountWait is how long a Pod of a new namespace waits for the controller that makes the
	// namespace's service account "default", so that a namespace and a Pod in it can be applied together.
	defaultServiceAccountWait = 2 * time.Second
)

// serviceAccountLookup finds service accounts, and can wait for one to be created.
type serviceAccountLookup struct {
	lookup func(resource schema.GroupResource, namespace, name string) Object

	mu sync.Mutex
	// change is closed and replaced when any service account has been created.
	change chan struct{}
}

func newServiceAccountLookup(lookup func(schema.GroupResource, string, string) Object) *serviceAccountLookup {
	return &serviceAccountLookup{lookup: lookup, change: make(chan struct{})}
}

// created wakes those who wait for a service account.
func (l *serviceAccountLookup) created() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.change)
	l.change = make(chan struct{})
}

func (l *serviceAccountLookup) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// get returns a NotFound error if there is no such account; if it is "default", after a wait.
func (l *serviceAccountLookup) get(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	if name == defaultServiceAccount {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultServiceAccountWait)
		defer cancel()
	}
	resource := schema.GroupResource{Resource: "serviceaccounts"}
	for {
		changed := l.changed()
		if account, found := l.lookup(resource, namespace, name).(*corev1.ServiceAccount); found {
			return account, nil
		}
		notFound := apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccount"}, name)
		if name != defaultServiceAccount {
			return nil, notFound
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, notFound
		}
	}
}
