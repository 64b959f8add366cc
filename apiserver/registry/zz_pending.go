package registry

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func isQualified(s string) bool                                  { return true }
func validateNode(Object) field.ErrorList                        { return nil }
func validateNodeUpdate(a, b Object) field.ErrorList             { return nil }
func nodeWarnings(a, b Object) []string                          { return nil }
func validatePod(*corev1.Pod) field.ErrorList                    { return nil }
func validatePodUpdate(a, b *corev1.Pod) field.ErrorList         { return nil }
func validatePodStatusUpdate(a, b *corev1.Pod) field.ErrorList   { return nil }
func podWarnings(*corev1.Pod) []string                           { return nil }
func templateWarnings(*corev1.PodTemplateSpec) []string          { return nil }
func podNameWarnings(a Object, create bool) []string             { return nil }
func validateService(*corev1.Service) field.ErrorList            { return nil }
func validateServiceUpdate(a, b *corev1.Service) field.ErrorList { return nil }
func validateLoadBalancerStatus(*corev1.LoadBalancerStatus, *field.Path, corev1.ServiceType) field.ErrorList {
	return nil
}
func serviceWarnings(a, b *corev1.Service) []string                                  { return nil }
func validateConfigMap(Object) field.ErrorList                                       { return nil }
func validateConfigMapUpdate(a, b Object) field.ErrorList                            { return nil }
func validateSecret(Object) field.ErrorList                                          { return nil }
func validateSecretUpdate(a, b Object) field.ErrorList                               { return nil }
func validateLease(Object) field.ErrorList                                           { return nil }
func validateLeaseUpdate(a, b Object) field.ErrorList                                { return nil }
func validateEndpoints(*corev1.Endpoints) field.ErrorList                            { return nil }
func endpointsWarnings(a, b Object) []string                                         { return nil }
func validateEndpointSlice(*discoveryv1.EndpointSlice) field.ErrorList               { return nil }
func validateEndpointSliceUpdate(a, b *discoveryv1.EndpointSlice) field.ErrorList    { return nil }
func endpointSliceWarnings(a, b Object) []string                                     { return nil }
func validateEvent(*corev1.Event) field.ErrorList                                    { return nil }
func validateNewEventsV1(*corev1.Event) field.ErrorList                              { return nil }
func validateEventsV1Update(a, b *corev1.Event) field.ErrorList                      { return nil }
func validateDeployment(*appsv1.Deployment) field.ErrorList                          { return nil }
func validateDeploymentUpdate(a, b *appsv1.Deployment) field.ErrorList               { return nil }
func validateDeploymentStatus(a, b *appsv1.DeploymentStatus) field.ErrorList         { return nil }
func validateReplicaSet(*appsv1.ReplicaSet) field.ErrorList                          { return nil }
func validateReplicaSetUpdate(a, b *appsv1.ReplicaSet) field.ErrorList               { return nil }
func validateReplicaSetStatus(*appsv1.ReplicaSetStatus, *field.Path) field.ErrorList { return nil }
