package deployment

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	deploymentutil "k8s.io/kubectl/pkg/util/deployment"
)

func isRolling(d *appsv1.Deployment) bool {
	return d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType && d.Spec.Strategy.RollingUpdate != nil
}

// maxSurge is how many Pods more than its replicas a rolling Deployment may have; 0 for other strategies.
func maxSurge(d *appsv1.Deployment) int32 {
	if !isRolling(d) {
		return 0
	}
	surge, _ := fenceposts(d)
	return surge
}

// maxUnavailable is how many of its replicas a rolling Deployment may be short of; 0 for other strategies.
func maxUnavailable(d *appsv1.Deployment) int32 {
	if !isRolling(d) || *d.Spec.Replicas == 0 {
		return 0
	}
	_, unavailable := fenceposts(d)
	return min(unavailable, *d.Spec.Replicas)
}

// fenceposts resolves maxSurge (rounded up) and maxUnavailable (rounded down); they are never both 0.
// Values that are no number, which validation refuses, count as 0 and 1.
func fenceposts(d *appsv1.Deployment) (surge, unavailable int32) {
	rolling := d.Spec.Strategy.RollingUpdate
	none := intstr.FromInt32(0)
	surgeSetting, unavailableSetting := &none, &none
	if rolling.MaxSurge != nil {
		surgeSetting = rolling.MaxSurge
	}
	if rolling.MaxUnavailable != nil {
		unavailableSetting = rolling.MaxUnavailable
	}
	surge, unavailable, err := deploymentutil.ResolveFenceposts(surgeSetting, unavailableSetting, *d.Spec.Replicas)
	if err != nil {
		return 0, 1
	}
	return surge, unavailable
}

// active returns the ReplicaSets that are to have Pods.
func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var found []*appsv1.ReplicaSet
	for _, rs := range sets {
		if *rs.Spec.Replicas > 0 {
			found = append(found, rs)
		}
	}
	return found
}

// wanted is the number of Pods that the ReplicaSets are to have.
func wanted(sets []*appsv1.ReplicaSet) int32 {
	return sum(sets, func(rs *appsv1.ReplicaSet) int32 { return *rs.Spec.Replicas })
}

// available is the number of Pods that the ReplicaSets have available.
func available(sets []*appsv1.ReplicaSet) int32 {
	return sum(sets, func(rs *appsv1.ReplicaSet) int32 { return rs.Status.AvailableReplicas })
}

func sum(sets []*appsv1.ReplicaSet, of func(*appsv1.ReplicaSet) int32) int32 {
	total := int32(0)
	for _, rs := range sets {
		total += of(rs)
	}
	return total
}
