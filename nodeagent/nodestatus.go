package nodeagent

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeStatus is the status that the node should have; pure. notReady says why Pods cannot run, empty: they can. Conditions of others
// (NetworkUnavailable) are kept, and heartbeat times are refreshed.
func nodeStatus(before v1.NodeStatus, machine machine, name string, ips []string, port int32, notReady string, now time.Time) v1.NodeStatus {
	status := *before.DeepCopy()
	status.Capacity, status.Allocatable = machine.capacity.DeepCopy(), machine.capacity.DeepCopy()
	status.NodeInfo = machine.info
	status.Addresses = nil
	for _, ip := range ips {
		status.Addresses = append(status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip})
	}
	status.Addresses = append(status.Addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: name})
	status.DaemonEndpoints.KubeletEndpoint.Port = port
	at := metav1.NewTime(now).Rfc3339Copy()
	set := func(kind v1.NodeConditionType, value v1.ConditionStatus, reason, message string) {
		var condition *v1.NodeCondition
		for i := range status.Conditions {
			if status.Conditions[i].Type == kind {
				condition = &status.Conditions[i]
			}
		}
		if condition == nil {
			status.Conditions = append(status.Conditions, v1.NodeCondition{Type: kind})
			condition = &status.Conditions[len(status.Conditions)-1]
		}
		if condition.Status != value {
			condition.Status, condition.LastTransitionTime = value, at
		}
		condition.Reason, condition.Message, condition.LastHeartbeatTime = reason, message, at
	}
	set(v1.NodeMemoryPressure, v1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	set(v1.NodeDiskPressure, v1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	set(v1.NodePIDPressure, v1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	if notReady == "" {
		set(v1.NodeReady, v1.ConditionTrue, "KubeletReady", "kubelet is posting ready status")
	} else {
		set(v1.NodeReady, v1.ConditionFalse, "KubeletNotReady", notReady)
	}
	return status
}
