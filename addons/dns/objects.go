package dns

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

const (
	// Namespace and ServiceName are where the cluster's name server is found, as in every Kubernetes cluster.
	Namespace   = "kube-system"
	ServiceName = "kube-dns"
	// DeploymentName is also the name of its service account.
	DeploymentName = "coredns"
)

// ManifestConfig is what the name server's manifests depend on.
type ManifestConfig struct {
	// Image holds the kubelite binary as /kubelite.
	Image string
	// ClusterIP is the Service's address, which the nodes write into their Pods' resolv.conf.
	ClusterIP string
	// ClusterDomain is the cluster's domain; empty for cluster.local.
	ClusterDomain string
	// Upstreams are resolvers for other names; empty for none.
	Upstreams []string
}

// Objects are the ServiceAccount, Service and Deployment of the name server, named and labelled as kubeadm does it.
func Objects(config ManifestConfig) []runtime.Object {
	labels := map[string]string{"k8s-app": ServiceName}
	return []runtime.Object{
		&corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: DeploymentName},
		},
		service(config, labels),
		deployment(config, labels),
	}
}

func service(config ManifestConfig, labels map[string]string) *corev1.Service {
	return &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: ServiceName, Labels: map[string]string{
			"k8s-app": ServiceName, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
		}},
		Spec: corev1.ServiceSpec{
			Type:      corev1.ServiceTypeClusterIP,
			ClusterIP: config.ClusterIP,
			Selector:  labels,
			Ports: []corev1.ServicePort{
				{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53, TargetPort: intstr.FromInt32(53)},
				{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53, TargetPort: intstr.FromInt32(53)},
			},
		},
	}
}

func deployment(config ManifestConfig, labels map[string]string) *appsv1.Deployment {
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: DeploymentName, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: ptr.To(intstr.FromInt32(1))},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					ServiceAccountName: DeploymentName,
					DNSPolicy:          corev1.DNSDefault, // it cannot ask itself
					NodeSelector:       map[string]string{corev1.LabelOSStable: "linux"},
					Tolerations: []corev1.Toleration{
						{Key: "CriticalAddonsOnly", Operator: corev1.TolerationOpExists},
						{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule},
					},
					Containers: []corev1.Container{container(config)},
				},
			},
		},
	}
}

func container(config ManifestConfig) corev1.Container {
	args := []string{"dns"}
	if config.ClusterDomain != "" {
		args = append(args, "--cluster-domain="+config.ClusterDomain)
	}
	for _, upstream := range config.Upstreams {
		args = append(args, "--dns-upstream="+upstream)
	}
	probe := func(path string, port int32) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port), Scheme: corev1.URISchemeHTTP}}
	}
	return corev1.Container{
		Name:            DeploymentName,
		Image:           config.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{"/kubelite"},
		Args:            args,
		// A small heap that is collected often: there is next to nothing to do.
		Env: []corev1.EnvVar{{Name: "GOGC", Value: "40"}},
		Ports: []corev1.ContainerPort{
			{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
			{Name: "dns-tcp", ContainerPort: 53, Protocol: corev1.ProtocolTCP},
			{Name: "liveness-probe", ContainerPort: 8080, Protocol: corev1.ProtocolTCP},
			{Name: "readiness-probe", ContainerPort: 8181, Protocol: corev1.ProtocolTCP},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("10m"),
				corev1.ResourceMemory: resource.MustParse("16Mi"),
			},
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
		},
		ReadinessProbe: &corev1.Probe{ProbeHandler: probe("/ready", 8181), PeriodSeconds: 1},
		LivenessProbe: &corev1.Probe{
			ProbeHandler: probe("/health", 8080), InitialDelaySeconds: 60, TimeoutSeconds: 5, FailureThreshold: 5,
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities: &corev1.Capabilities{
				Add:  []corev1.Capability{"NET_BIND_SERVICE"},
				Drop: []corev1.Capability{"ALL"},
			},
		},
	}
}
