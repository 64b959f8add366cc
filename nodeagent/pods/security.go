package pods

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// applySecurity settles who the container runs as and what it may do; the container's own security context wins over the Pod's.
func applySecurity(config *runtime.ContainerConfig, pod *v1.Pod, container *v1.Container, imageUser string) error {
	var podContext v1.PodSecurityContext
	if pod.Spec.SecurityContext != nil {
		podContext = *pod.Spec.SecurityContext
	}
	var own v1.SecurityContext
	if container.SecurityContext != nil {
		own = *container.SecurityContext
	}
	user, group, nonRoot := podContext.RunAsUser, podContext.RunAsGroup, podContext.RunAsNonRoot
	if own.RunAsUser != nil {
		user = own.RunAsUser
	}
	if own.RunAsGroup != nil {
		group = own.RunAsGroup
	}
	if own.RunAsNonRoot != nil {
		nonRoot = own.RunAsNonRoot
	}
	if nonRoot != nil && *nonRoot {
		if err := verifyNonRoot(pod, container, user, imageUser); err != nil {
			return err
		}
	}
	config.User = imageUser
	if user != nil {
		config.User = strconv.FormatInt(*user, 10)
	}
	if group != nil {
		name, _, _ := strings.Cut(config.User, ":")
		if name == "" {
			name = "0"
		}
		config.User = name + ":" + strconv.FormatInt(*group, 10)
	}
	for _, id := range podContext.SupplementalGroups {
		config.Groups = append(config.Groups, uint32(id))
	}
	if podContext.FSGroup != nil {
		config.Groups = append(config.Groups, uint32(*podContext.FSGroup))
	}
	profile := podContext.SeccompProfile
	if own.SeccompProfile != nil {
		profile = own.SeccompProfile
	}
	if profile != nil && profile.Type == v1.SeccompProfileTypeRuntimeDefault {
		config.Seccomp = runtime.SeccompRuntimeDefault
	}
	config.Privileged = own.Privileged != nil && *own.Privileged
	config.ReadOnlyRoot = own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem
	config.NoNewPrivileges = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	if own.Capabilities != nil {
		config.AddCapabilities, config.DropCapabilities = capabilityNames(own.Capabilities.Add), capabilityNames(own.Capabilities.Drop)
	}
	return nil
}

func capabilityNames(capabilities []v1.Capability) []string {
	var names []string
	for _, capability := range capabilities {
		names = append(names, strings.TrimPrefix(strings.ToUpper(string(capability)), "CAP_"))
	}
	return slices.Compact(names)
}

// verifyNonRoot refuses, in the kubelet's words, to run what would run as root although it must not.
func verifyNonRoot(pod *v1.Pod, container *v1.Container, user *int64, imageUser string) error {
	where := fmt.Sprintf("(pod: \"%s_%s(%s)\", container: %s)", pod.Name, pod.Namespace, pod.UID, container.Name)
	if user != nil {
		if *user == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
		}
		return nil
	}
	name, _, _ := strings.Cut(imageUser, ":")
	id, err := strconv.ParseInt(name, 10, 64)
	switch {
	case name == "" || err == nil && id == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case err != nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", name, where)
	}
	return nil
}

const cpuPeriod = 100_000 // microseconds

// applyResources turns requests and limits into cgroup values and a score for the kernel's out-of-memory killer.
func applyResources(config *runtime.ContainerConfig, pod *v1.Pod, container *v1.Container, memoryCapacity int64) {
	requests, limits := container.Resources.Requests, container.Resources.Limits
	cpu := requests.Cpu().MilliValue()
	if cpu == 0 {
		cpu = limits.Cpu().MilliValue()
	}
	config.CPUShares = max(cpu*1024/1000, 2)
	if limit := limits.Cpu().MilliValue(); limit > 0 {
		config.CPUQuota = max(limit*cpuPeriod/1000, 1000)
	}
	config.MemoryLimit = limits.Memory().Value()
	class := pod.Status.QOSClass
	if class == "" {
		class = qos.ComputePodQOS(pod)
	}
	switch class {
	case v1.PodQOSGuaranteed:
		config.OOMScoreAdj = -997
	case v1.PodQOSBestEffort:
		config.OOMScoreAdj = 1000
	default:
		config.OOMScoreAdj = 999
		if memoryCapacity > 0 {
			config.OOMScoreAdj = int(min(max(1000-1000*requests.Memory().Value()/memoryCapacity, 3), 999))
		}
	}
}
