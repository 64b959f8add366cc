package apiserver

import (
	"fmt"
	"net/http"
	"time"

	"github.com/kubelite/kubelite/apiserver/auth"
	"github.com/kubelite/kubelite/apiserver/store"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	defaultTokenSeconds  = 60 * 60
	shortestTokenSeconds = 10 * 60
	longestTokenSeconds  = 1 << 32
)

// createToken answers POST of a service account's /token: a bound token (KEP-1205).
func (c *call) createToken() error {
	kind := authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
	request := new(authenticationv1.TokenRequest)
	_, format, err := c.readPosted(kind, request)
	if err != nil {
		return err
	}
	account, err := c.store.Get(c.key())
	if err != nil {
		return storeError(c.resource.Kind, c.name, err)
	}
	if request.Name == "" {
		request.Name = c.name
	}
	if err := c.matchRequest(request); err != nil {
		return err
	}
	if request.Spec.ExpirationSeconds == nil {
		seconds := int64(defaultTokenSeconds)
		request.Spec.ExpirationSeconds = &seconds
	}
	if errs := validateTokenSpec(&request.Spec); len(errs) > 0 {
		return apierrors.NewInvalid(kind.GroupKind(), c.name, errs)
	}
	binding := auth.Binding{
		Namespace:      c.namespace,
		ServiceAccount: auth.Reference{Name: c.name, UID: account.Object.GetUID()},
		Audiences:      request.Spec.Audiences,
		Lifetime:       time.Duration(*request.Spec.ExpirationSeconds) * time.Second,
	}
	if binding.Pod, err = c.boundPod(request.Spec.BoundObjectRef); err != nil {
		return err
	}
	if err := c.restrictNodeToken(request.Spec.BoundObjectRef); err != nil {
		return err
	}
	if err := c.issue(request, binding); err != nil {
		return err
	}
	request.CreationTimestamp = metav1.Now().Rfc3339Copy()
	writeObject(c.w, c.r, http.StatusCreated, format, request)
	return nil
}

func (c *call) issue(request *authenticationv1.TokenRequest, binding auth.Binding) error {
	token, expires, err := c.tokens.Issue(binding)
	if err != nil {
		return err
	}
	if len(request.Spec.Audiences) == 0 {
		request.Spec.Audiences = []string{c.issuer()}
	}
	request.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(expires)}
	return nil
}

func validateTokenSpec(spec *authenticationv1.TokenRequestSpec) field.ErrorList {
	path := field.NewPath("spec", "expirationSeconds")
	switch seconds := *spec.ExpirationSeconds; {
	case seconds < shortestTokenSeconds:
		return field.ErrorList{field.Invalid(path, seconds, "may not specify a duration less than 10 minutes")}
	case seconds > longestTokenSeconds:
		return field.ErrorList{field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")}
	}
	return nil
}

// boundPod is the Pod that a token shall live as long as. It must use the service account.
func (c *call) boundPod(ref *authenticationv1.BoundObjectReference) (auth.Reference, error) {
	if ref == nil {
		return auth.Reference{}, nil
	}
	if ref.Kind != "Pod" || ref.APIVersion != "v1" {
		return auth.Reference{}, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to %s, Kind=%s", c.name, ref.APIVersion, ref.Kind))
	}
	pods := corev1.Resource("pods")
	item, err := c.store.Get(store.Key{Resource: pods, Namespace: c.namespace, Name: ref.Name})
	if err != nil {
		return auth.Reference{}, apierrors.NewNotFound(pods, ref.Name)
	}
	pod, ok := item.Object.(*corev1.Pod)
	if !ok {
		return auth.Reference{}, fmt.Errorf("pod %s is a %T", ref.Name, item.Object)
	}
	if ref.UID != "" && ref.UID != pod.UID {
		return auth.Reference{}, apierrors.NewConflict(corev1.Resource("Pod"), ref.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	if pod.Spec.ServiceAccountName != c.name {
		return auth.Reference{}, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", c.name))
	}
	return auth.Reference{Name: pod.Name, UID: pod.UID}, nil
}

// ServiceAccount is what authentication reads: see auth.Getter.
func (s *Server) ServiceAccount(namespace, name string) (uid types.UID, found bool) {
	item, err := s.store.Get(store.Key{Resource: corev1.Resource("serviceaccounts"), Namespace: namespace, Name: name})
	if err != nil {
		return "", false
	}
	return item.Object.GetUID(), true
}

// Pod is what authentication and authorization read: see auth.Getter.
func (s *Server) Pod(namespace, name string) (uid types.UID, node string, found bool) {
	item, err := s.store.Get(store.Key{Resource: corev1.Resource("pods"), Namespace: namespace, Name: name})
	if err != nil {
		return "", "", false
	}
	pod, ok := item.Object.(*corev1.Pod)
	if !ok {
		return "", "", false
	}
	return pod.UID, pod.Spec.NodeName, true
}
