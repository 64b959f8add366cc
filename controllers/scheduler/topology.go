package scheduler

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// constraint is a parsed topologySpreadConstraint.
type constraint struct {
	spec     *corev1.TopologySpreadConstraint
	selector labels.Selector
}

// term is a parsed Pod affinity or anti-affinity term.
type term struct {
	topologyKey string
	selector    labels.Selector
	namespaces  []string
	anywhere    bool // an empty namespaceSelector: all namespaces
}

func (r *request) parseTopology() error {
	for i := range r.pod.Spec.TopologySpreadConstraints {
		spec := &r.pod.Spec.TopologySpreadConstraints[i]
		selector, err := metav1.LabelSelectorAsSelector(spec.LabelSelector)
		if err != nil {
			return fmt.Errorf("parse topology spread constraint: %w", err)
		}
		for _, key := range spec.MatchLabelKeys {
			if value, labelled := r.pod.Labels[key]; labelled {
				same, err := labels.ValidatedSelectorFromSet(labels.Set{key: value})
				if err != nil {
					return fmt.Errorf("parse topology spread constraint: %w", err)
				}
				requirements, _ := same.Requirements()
				selector = selector.Add(requirements...)
			}
		}
		r.spread = append(r.spread, constraint{spec: spec, selector: selector})
	}
	var err error
	if affinity := r.pod.Spec.Affinity; affinity != nil {
		if affinity.PodAffinity != nil {
			r.affinity, err = parseTerms(r.pod, affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			if err != nil {
				return err
			}
		}
		r.antiAffinity, err = requiredAntiAffinity(r.pod)
	}
	return err
}

func requiredAntiAffinity(pod *corev1.Pod) ([]term, error) {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil {
		return nil, nil
	}
	return parseTerms(pod, pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
}

func parseTerms(pod *corev1.Pod, specs []corev1.PodAffinityTerm) ([]term, error) {
	terms := make([]term, 0, len(specs))
	for i := range specs {
		parsed, err := parseTerm(pod, &specs[i])
		if err != nil {
			return nil, err
		}
		terms = append(terms, parsed)
	}
	return terms, nil
}

func parseTerm(pod *corev1.Pod, spec *corev1.PodAffinityTerm) (term, error) {
	selector, err := metav1.LabelSelectorAsSelector(spec.LabelSelector)
	if err != nil {
		return term{}, fmt.Errorf("parse pod affinity term: %w", err)
	}
	parsed := term{topologyKey: spec.TopologyKey, selector: selector, namespaces: spec.Namespaces}
	switch {
	case spec.NamespaceSelector != nil && len(spec.NamespaceSelector.MatchLabels)+len(spec.NamespaceSelector.MatchExpressions) == 0:
		parsed.anywhere = true
	case spec.NamespaceSelector != nil:
		// Only the label that every namespace carries with its own name is understood.
		if name, named := spec.NamespaceSelector.MatchLabels[corev1.LabelMetadataName]; named {
			parsed.namespaces = append(slices.Clone(parsed.namespaces), name)
		}
	case len(spec.Namespaces) == 0:
		parsed.namespaces = []string{pod.Namespace}
	}
	return parsed, nil
}

func (t *term) matches(pod *corev1.Pod) bool {
	return (t.anywhere || slices.Contains(t.namespaces, pod.Namespace)) && t.selector.Matches(labels.Set(pod.Labels))
}

// domain is the value of a topology key on a node; ok is false if the node does not have the label.
func domain(node *nodeState, key string) (value string, ok bool) {
	value, ok = node.node.Labels[key]
	return value, ok
}

// matchingIn counts the Pods that match and run in the same domain as node.
func (r *request) matchingIn(node *nodeState, key string, matches func(*corev1.Pod) bool) int {
	value, labelled := domain(node, key)
	if !labelled {
		return 0
	}
	count := 0
	for _, other := range r.nodes {
		if otherValue, ok := domain(other, key); ok && otherValue == value {
			count += matchingOn(other, matches)
		}
	}
	return count
}

func matchingOn(node *nodeState, matches func(*corev1.Pod) bool) int {
	count := 0
	for _, placed := range node.pods {
		if matches(placed.pod) {
			count++
		}
	}
	return count
}

func (c *constraint) counts(r *request) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		return pod.Namespace == r.pod.Namespace && pod.DeletionTimestamp == nil && c.selector.Matches(labels.Set(pod.Labels))
	}
}

// eligible says whether a node counts in the constraint's domains: by default one that the Pod's node affinity allows.
func (c *constraint) eligible(r *request, node *nodeState) bool {
	if _, labelled := domain(node, c.spec.TopologyKey); !labelled {
		return false
	}
	if c.spec.NodeAffinityPolicy == nil || *c.spec.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor {
		if nodeAffinity(r, node) != nil {
			return false
		}
	}
	return c.spec.NodeTaintsPolicy == nil || *c.spec.NodeTaintsPolicy == corev1.NodeInclusionPolicyIgnore || taints(r, node) == nil
}

func spreadConstraints(r *request, node *nodeState) *refusal {
	for i := range r.spread {
		c := &r.spread[i]
		if c.spec.WhenUnsatisfiable != corev1.DoNotSchedule {
			continue
		}
		if _, labelled := domain(node, c.spec.TopologyKey); !labelled {
			return refuseFinal("node(s) didn't match pod topology spread constraints (missing required label)")
		}
		own := 0
		if c.selector.Matches(labels.Set(r.pod.Labels)) {
			own = 1
		}
		if r.matchingIn(node, c.spec.TopologyKey, c.counts(r))+own-c.fewest(r) > int(c.spec.MaxSkew) {
			return refuse("node(s) didn't match pod topology spread constraints")
		}
	}
	return nil
}

// fewest is the smallest number of matching Pods of a domain; zero while there are fewer domains than minDomains.
func (c *constraint) fewest(r *request) int {
	domains := map[string]int{}
	for _, node := range r.nodes {
		if c.eligible(r, node) {
			value, _ := domain(node, c.spec.TopologyKey)
			domains[value] += matchingOn(node, c.counts(r))
		}
	}
	if c.spec.MinDomains != nil && len(domains) < int(*c.spec.MinDomains) {
		return 0
	}
	lowest, first := 0, true
	for _, count := range domains {
		if first || count < lowest {
			lowest, first = count, false
		}
	}
	return lowest
}

// spreadScore counts, negatively, the matching Pods in the node's domains.
func (r *request) spreadScore(node *nodeState) int64 {
	var score int64
	for i := range r.spread {
		score -= int64(r.matchingIn(node, r.spread[i].spec.TopologyKey, r.spread[i].counts(r)))
	}
	return score
}

func podAffinity(r *request, node *nodeState) *refusal {
	for i := range r.affinity {
		t := &r.affinity[i]
		if _, labelled := domain(node, t.topologyKey); !labelled {
			return refuseFinal("node(s) didn't match pod affinity rules")
		}
		// The first of a group that wants its own company may go anywhere.
		if r.matchingIn(node, t.topologyKey, t.matches) == 0 && (r.anywhere(t) || !t.matches(r.pod)) {
			return refuseFinal("node(s) didn't match pod affinity rules")
		}
	}
	for i := range r.antiAffinity {
		if r.matchingIn(node, r.antiAffinity[i].topologyKey, r.antiAffinity[i].matches) > 0 {
			return refuse("node(s) didn't match pod anti-affinity rules")
		}
	}
	if r.unwantedIn(node) {
		return refuse("node(s) didn't satisfy existing pods anti-affinity rules")
	}
	return nil
}

// anywhere says whether some Pod of the cluster matches the term.
func (r *request) anywhere(t *term) bool {
	return slices.ContainsFunc(r.nodes, func(node *nodeState) bool { return matchingOn(node, t.matches) > 0 })
}

// unwantedIn says whether a Pod that runs in a domain of node keeps Pods like this one out of it.
func (r *request) unwantedIn(node *nodeState) bool {
	for _, other := range r.nodes {
		for _, placed := range other.pods {
			terms, err := requiredAntiAffinity(placed.pod)
			if err != nil {
				continue // it was refused for that itself
			}
			for i := range terms {
				here, labelled := domain(node, terms[i].topologyKey)
				there, ok := domain(other, terms[i].topologyKey)
				if labelled && ok && here == there && terms[i].matches(r.pod) {
					return true
				}
			}
		}
	}
	return false
}

// preferredTopology weighs the preferred Pod affinity and anti-affinity of the Pod itself.
func preferredTopology(r *request, node *nodeState) int64 {
	affinity := r.pod.Spec.Affinity
	if affinity == nil {
		return 0
	}
	var score int64
	weigh := func(terms []corev1.WeightedPodAffinityTerm, sign int64) {
		for i := range terms {
			parsed, err := parseTerm(r.pod, &terms[i].PodAffinityTerm)
			if err == nil {
				score += sign * int64(terms[i].Weight) * int64(r.matchingIn(node, parsed.topologyKey, parsed.matches))
			}
		}
	}
	if affinity.PodAffinity != nil {
		weigh(affinity.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution, 1)
	}
	if affinity.PodAntiAffinity != nil {
		weigh(affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, -1)
	}
	return score
}
