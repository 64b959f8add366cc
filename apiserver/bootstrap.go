package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/kubelite/kubelite/apiserver/store"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// kubernetesName is the name of the API server's own Service and of its endpoints.
const kubernetesName = "kubernetes"

// bootstrap makes what every cluster has, and puts right what has changed since it was made: the server's addresses.
func (s *Server) bootstrap() error {
	if !s.reachable() {
		slog.Warn("the Service kubernetes has no endpoints: Pods cannot reach a loopback address", "advertised", s.config.AdvertiseAddress)
	}
	ctx := context.Background()
	if err := s.ensureServiceCIDR(ctx); err != nil {
		return err
	}
	if err := s.repairServiceAddresses(ctx); err != nil {
		return err
	}
	s.reportNodePorts(ctx)
	return s.ensureAll(ctx)
}

// ensureAll makes or corrects the namespaces, the Service "kubernetes" and its endpoints; what is right already costs no write.
func (s *Server) ensureAll(ctx context.Context) error {
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := s.ensure(ctx, corev1.Resource("namespaces"), namespace, func(Object) {}); err != nil {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
	}
	if err := s.ensure(ctx, corev1.Resource("services"), s.kubernetesService(), func(current Object) {
		if service, ok := current.(*corev1.Service); ok {
			service.Spec.Ports = s.kubernetesService().Spec.Ports
		}
	}); err != nil {
		return fmt.Errorf("make Service %s: %w", kubernetesName, err)
	}
	if err := s.ensure(ctx, corev1.Resource("endpoints"), s.kubernetesEndpoints(), func(current Object) {
		//lint:ignore SA1019 Endpoints are served, though deprecated
		if endpoints, ok := current.(*corev1.Endpoints); ok {
			endpoints.Subsets = s.kubernetesEndpoints().Subsets
		}
	}); err != nil {
		return fmt.Errorf("make Endpoints %s: %w", kubernetesName, err)
	}
	slices := discoveryv1.Resource("endpointslices")
	if err := s.ensure(ctx, slices, s.kubernetesSlice(), func(current Object) {
		if slice, ok := current.(*discoveryv1.EndpointSlice); ok {
			slice.Endpoints, slice.Ports = s.kubernetesSlice().Endpoints, s.kubernetesSlice().Ports
		}
	}); err != nil {
		return fmt.Errorf("make EndpointSlice %s: %w", kubernetesName, err)
	}
	return nil
}

// ensure creates the object, or lets correct change the one that is there.
func (s *Server) ensure(ctx context.Context, resource schema.GroupResource, wanted Object, correct func(current Object)) error {
	c, err := s.ownCall(ctx, resource, wanted.GetNamespace(), wanted.GetName())
	if err != nil {
		return err
	}
	_, _, err = c.modify(change{
		create: true,
		next: func(current Object) (Object, error) {
			if current == nil {
				return c.resource.internal(wanted.DeepCopyObject().(Object)), nil
			}
			correct(current)
			return current, nil
		},
	})
	return err
}

// ownCall is a request of the server to itself.
func (s *Server) ownCall(ctx context.Context, resource schema.GroupResource, namespace, name string) (*call, error) {
	for _, res := range s.resources {
		if res.GroupResource() == resource {
			request := (&http.Request{Method: http.MethodPut, URL: &url.URL{}, Header: http.Header{}}).WithContext(ctx)
			return &call{Server: s, w: discardResponse{}, r: request, resource: res, namespace: namespace, name: name}, nil
		}
	}
	return nil, apierrors.NewNotFound(resource, name)
}

// discardResponse takes the warnings of the server's own calls.
type discardResponse struct{}

func (discardResponse) Header() http.Header         { return http.Header{} }
func (discardResponse) Write(b []byte) (int, error) { return len(b), nil }
func (discardResponse) WriteHeader(int)             {}

// reachable reports whether Pods can reach the advertised address. Endpoints may not be loopback addresses: a server that
// is only there for its own machine has none.
func (s *Server) reachable() bool { return !s.config.AdvertiseAddress.IsLoopback() }

func (s *Server) kubernetesMeta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: kubernetesName, Namespace: metav1.NamespaceDefault}
}

func (s *Server) kubernetesService() *corev1.Service {
	service := &corev1.Service{ObjectMeta: s.kubernetesMeta()}
	service.Labels = map[string]string{"component": "apiserver", "provider": "kubernetes"}
	service.Spec = corev1.ServiceSpec{
		Type:      corev1.ServiceTypeClusterIP,
		ClusterIP: s.serviceAddress().String(),
		Ports: []corev1.ServicePort{{
			Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt(s.config.AdvertisePort),
		}},
		SessionAffinity: corev1.ServiceAffinityNone,
	}
	return service
}

//lint:ignore SA1019 Endpoints are served, though deprecated
func (s *Server) kubernetesEndpoints() *corev1.Endpoints {
	//lint:ignore SA1019 as above
	endpoints := &corev1.Endpoints{ObjectMeta: s.kubernetesMeta()}
	endpoints.Labels = map[string]string{discoveryv1.LabelSkipMirror: "true"}
	if !s.reachable() {
		return endpoints
	}
	//lint:ignore SA1019 as above
	endpoints.Subsets = []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: s.config.AdvertiseAddress.String()}},
		Ports:     []corev1.EndpointPort{{Name: "https", Port: int32(s.config.AdvertisePort), Protocol: corev1.ProtocolTCP}},
	}}
	return endpoints
}

func (s *Server) kubernetesSlice() *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: s.kubernetesMeta(), AddressType: discoveryv1.AddressTypeIPv4}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: kubernetesName}
	ready, name, port, protocol := true, "https", int32(s.config.AdvertisePort), corev1.ProtocolTCP
	slice.Ports = []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}}
	if !s.reachable() {
		return slice
	}
	slice.Endpoints = []discoveryv1.Endpoint{{
		Addresses:  []string{s.config.AdvertiseAddress.String()},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready},
	}}
	return slice
}

// namespaceKey is where a namespace is stored.
func namespaceKey(name string) store.Key { return store.Key{Resource: namespaces, Name: name} }
