package pods

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// sandboxConfig is what the Pod's namespaces are made from.
func sandboxConfig(pod *v1.Pod, nodeName string) runtime.SandboxConfig {
	config := runtime.SandboxConfig{
		PodUID: string(pod.UID), PodNamespace: pod.Namespace, PodName: pod.Name,
		Hostname: hostname(pod, nodeName), HostNetwork: pod.Spec.HostNetwork, Sysctls: map[string]string{},
	}
	if pod.Spec.SecurityContext != nil {
		for _, sysctl := range pod.Spec.SecurityContext.Sysctls {
			config.Sysctls[sysctl.Name] = sysctl.Value
		}
	}
	if pod.Spec.HostNetwork {
		return config
	}
	add := func(container *v1.Container) {
		for _, port := range container.Ports {
			if port.HostPort == 0 {
				continue
			}
			protocol := string(port.Protocol)
			if protocol == "" {
				protocol = string(v1.ProtocolTCP)
			}
			config.HostPorts = append(config.HostPorts, runtime.HostPort{
				HostIP: port.HostIP, HostPort: port.HostPort, ContainerPort: port.ContainerPort, Protocol: protocol,
			})
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if isSidecar(&pod.Spec.InitContainers[i]) {
			add(&pod.Spec.InitContainers[i])
		}
	}
	return config
}

// logFolder is the name of a Pod's folder of logs.
func logFolder(namespace, name string, uid types.UID) string {
	return namespace + "_" + name + "_" + string(uid)
}
