package pods

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// unsupported says which of the namespaces that the Pod asks for it cannot have: a Pod that would run in others than it says is not started.
func unsupported(pod *v1.Pod) error {
	var fields []string
	if pod.Spec.HostPID {
		fields = append(fields, "hostPID") // all nodes of a lab share their machine's
	}
	if pod.Spec.HostIPC {
		fields = append(fields, "hostIPC")
	}
	if pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace {
		fields = append(fields, "shareProcessNamespace")
	}
	if len(fields) == 0 {
		return nil
	}
	return fmt.Errorf("kubelite does not have %s: remove it from the Pod's spec", strings.Join(fields, ", "))
}

// sandboxConfig is what the Pod's namespaces are made from, with the name that its processes see as their machine's.
func sandboxConfig(pod *v1.Pod, nodename string) runtime.SandboxConfig {
	config := runtime.SandboxConfig{
		PodUID: string(pod.UID), PodNamespace: pod.Namespace, PodName: pod.Name,
		Hostname: nodename, HostNetwork: pod.Spec.HostNetwork, Sysctls: map[string]string{},
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
