//lint:file-ignore SA1019 Kubernetes deprecates v1 Endpoints, and serves them.

package registry

import (
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// Scheme knows the served types, the bodies of their subresources (Binding, Eviction, Scale, TokenRequest, the
// options of log, exec, attach and port-forward), the reviews of one's own access, and meta.k8s.io, and nothing else: client-go's scheme costs
// megabytes.
var Scheme = newScheme()

// Codecs encode and decode the types of Scheme as JSON, YAML and protobuf.
var Codecs = serializer.NewCodecFactory(Scheme)

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	types := map[schema.GroupVersion][]runtime.Object{
		corev1.SchemeGroupVersion: {
			&corev1.Namespace{}, &corev1.NamespaceList{},
			&corev1.Node{}, &corev1.NodeList{},
			&corev1.Pod{}, &corev1.PodList{},
			&corev1.Service{}, &corev1.ServiceList{},
			&corev1.Endpoints{}, &corev1.EndpointsList{},
			&corev1.ConfigMap{}, &corev1.ConfigMapList{},
			&corev1.Secret{}, &corev1.SecretList{},
			&corev1.ServiceAccount{}, &corev1.ServiceAccountList{},
			&corev1.Event{}, &corev1.EventList{},
			&corev1.Binding{}, &corev1.PodLogOptions{}, &corev1.PodExecOptions{}, &corev1.PodAttachOptions{},
			&corev1.PodPortForwardOptions{}, &corev1.List{}, &metav1.Status{},
		},
		appsv1.SchemeGroupVersion: {
			&appsv1.Deployment{}, &appsv1.DeploymentList{},
			&appsv1.ReplicaSet{}, &appsv1.ReplicaSetList{},
		},
		discoveryv1.SchemeGroupVersion: {&discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{}},
		networkingv1.SchemeGroupVersion: {
			&networkingv1.ServiceCIDR{}, &networkingv1.ServiceCIDRList{}, &networkingv1.IPAddress{}, &networkingv1.IPAddressList{},
		},
		coordinationv1.SchemeGroupVersion:   {&coordinationv1.Lease{}, &coordinationv1.LeaseList{}},
		eventsv1.SchemeGroupVersion:         {&eventsv1.Event{}, &eventsv1.EventList{}},
		autoscalingv1.SchemeGroupVersion:    {&autoscalingv1.Scale{}},
		policyv1.SchemeGroupVersion:         {&policyv1.Eviction{}},
		authenticationv1.SchemeGroupVersion: {&authenticationv1.TokenRequest{}, &authenticationv1.SelfSubjectReview{}},
		authorizationv1.SchemeGroupVersion: {
			&authorizationv1.SelfSubjectAccessReview{}, &authorizationv1.SelfSubjectRulesReview{},
		},
	}
	for version, objects := range types {
		scheme.AddKnownTypes(version, objects...)
		metav1.AddToGroupVersion(scheme, version)
		utilruntime.Must(scheme.SetVersionPriority(version))
	}
	utilruntime.Must(metav1.AddMetaToScheme(scheme))
	return scheme
}
