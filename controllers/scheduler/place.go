package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// request is a Pod that wants a node, with what is needed of it more than once.
type request struct {
	pod            *corev1.Pod
	requests       amounts // only what it wants of, never zero
	score          amounts
	resourceNames  []corev1.ResourceName // of requests, sorted
	hostPorts      []hostPort
	requiredNodes  nodeaffinity.RequiredNodeAffinity
	preferredNodes *nodeaffinity.PreferredSchedulingTerms // nil if none
	services       []labels.Selector                      // of the Services that select it
	spread         []constraint
	affinity       []term
	antiAffinity   []term
	nodes          []*nodeState // all that exist
}

// place returns the name of the best node for the Pod, or the message of a FailedScheduling event when there is none.
// services are the Services of the Pod's namespace that select it. Equal nodes are taken in natural order.
func place(pod *corev1.Pod, services []*corev1.Service, nodes []*nodeState) (node, failure string) {
	if len(nodes) == 0 {
		return "", "no nodes available to schedule pods"
	}
	r, err := newRequest(pod, services, nodes)
	if err != nil {
		return "", err.Error()
	}
	var fitting []*nodeState
	refusals := map[string]*refusal{}
	for _, candidate := range nodes {
		if refused := firstRefusal(r, candidate); refused != nil {
			refusals[candidate.name] = refused
		} else {
			fitting = append(fitting, candidate)
		}
	}
	if len(fitting) == 0 {
		return "", refusalMessage(pod, len(nodes), refusals)
	}
	return best(r, fitting).name, ""
}

func newRequest(pod *corev1.Pod, services []*corev1.Service, nodes []*nodeState) (*request, error) {
	r := &request{
		pod:           pod,
		requests:      requestsOf(pod),
		score:         scoreRequestsOf(pod),
		hostPorts:     hostPortsOf(pod),
		requiredNodes: requiredNodeAffinity(pod),
		nodes:         nodes,
	}
	maps.DeleteFunc(r.requests, func(_ corev1.ResourceName, amount int64) bool { return amount == 0 })
	r.resourceNames = slices.Sorted(maps.Keys(r.requests))
	for _, service := range services {
		r.services = append(r.services, labels.SelectorFromSet(service.Spec.Selector))
	}
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.NodeAffinity != nil {
		terms, err := nodeaffinity.NewPreferredSchedulingTerms(affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		if err != nil {
			return nil, fmt.Errorf("parse preferred node affinity: %w", err)
		}
		r.preferredNodes = terms
	}
	return r, r.parseTopology()
}

func firstRefusal(r *request, node *nodeState) *refusal {
	for _, filter := range filters {
		if refused := filter(r, node); refused != nil {
			return refused
		}
	}
	return nil
}

// refusalMessage is kube-scheduler's: how many nodes refuse for which reason, then why preemption would not help.
func refusalMessage(pod *corev1.Pod, total int, refusals map[string]*refusal) string {
	reasons, preemption := map[string]int{}, map[string]int{}
	for _, refused := range refusals {
		for _, reason := range refused.reasons {
			reasons[reason]++
		}
		if refused.final {
			preemption["Preemption is not helpful for scheduling"]++
		} else {
			preemption["No preemption victims found for incoming pod"]++
		}
	}
	message := availability(total, reasons) + " no new claims to deallocate, preemption: "
	if pod.Spec.PreemptionPolicy != nil && *pod.Spec.PreemptionPolicy == corev1.PreemptNever {
		return message + "not eligible due to preemptionPolicy=Never."
	}
	return message + availability(total, preemption)
}

// availability is "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable."
func availability(total int, reasons map[string]int) string {
	parts := make([]string, 0, len(reasons))
	for reason, count := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", count, reason))
	}
	slices.Sort(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", total, strings.Join(parts, ", "))
}
