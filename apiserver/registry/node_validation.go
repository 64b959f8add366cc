//lint:file-ignore SA1019 The deprecated fields are read to warn of them.

package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateNode(obj Object) field.ErrorList {
	node := obj.(*corev1.Node)
	errs := validateTaints(node.Spec.Taints)
	errs = append(errs, validateNodeResources(node)...)
	path := field.NewPath("spec", "podCIDRs")
	var networks []netip.Addr
	for i, cidr := range node.Spec.PodCIDRs {
		errs = append(errs, validation.IsValidCIDR(path.Index(i), cidr)...)
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			networks = append(networks, prefix.Addr())
		}
	}
	if !oneOfEachFamily(networks) {
		errs = append(errs, field.Invalid(path, node.Spec.PodCIDRs, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

func validateNodeUpdate(obj, old Object) field.ErrorList {
	node, before := obj.(*corev1.Node), old.(*corev1.Node)
	errs := validateNodeResources(node)
	addresses := seen[corev1.NodeAddress]{}
	for i, address := range node.Status.Addresses {
		if addresses.before(address) {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), address))
		}
	}
	if len(before.Spec.PodCIDRs) > 0 && !slices.Equal(node.Spec.PodCIDRs, before.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "podCIDRs"), `node updates may not change podCIDR except from "" to valid`))
	}
	if before.Spec.ProviderID != "" && node.Spec.ProviderID != before.Spec.ProviderID {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "providerID"), `node updates may not change providerID except from "" to valid`))
	}
	return append(errs, validateTaints(node.Spec.Taints)...)
}

func validateNodeResources(node *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	for _, name := range resourceNames(node.Status.Capacity) {
		errs = append(errs, validateQuantity(field.NewPath("status", "capacity", string(name)), name, node.Status.Capacity[name])...)
	}
	for _, name := range resourceNames(node.Status.Allocatable) {
		errs = append(errs, validateQuantity(field.NewPath("status", "allocatable", string(name)), name, node.Status.Allocatable[name])...)
	}
	return errs
}

// validateTaints uses the field path that Kubernetes uses, although taints are in spec.
func validateTaints(taints []corev1.Taint) field.ErrorList {
	type pair struct {
		key    string
		effect corev1.TaintEffect
	}
	var errs field.ErrorList
	pairs := seen[pair]{}
	for i, taint := range taints {
		path := field.NewPath("metadata", "taints").Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(taint.Key, path.Child("key"))...)
		if messages := validation.IsValidLabelValue(taint.Value); len(messages) > 0 {
			errs = append(errs, field.Invalid(path.Child("value"), taint.Value, strings.Join(messages, ";")))
		}
		errs = append(errs, validateTaintEffect(path.Child("effect"), taint.Effect)...)
		if pairs.before(pair{taint.Key, taint.Effect}) {
			duplicate := field.Duplicate(path, taint)
			duplicate.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, duplicate)
		}
	}
	return errs
}

// replacedNodeLabels are labels that nodes once had, and what they are called now.
var replacedNodeLabels = map[string]string{
	"beta.kubernetes.io/arch":                  `deprecated since v1.14; use "kubernetes.io/arch" instead`,
	"beta.kubernetes.io/os":                    `deprecated since v1.14; use "kubernetes.io/os" instead`,
	"failure-domain.beta.kubernetes.io/region": `deprecated since v1.17; use "topology.kubernetes.io/region" instead`,
	"failure-domain.beta.kubernetes.io/zone":   `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`,
	"beta.kubernetes.io/instance-type":         `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`,
}

func nodeWarnings(obj, _ Object) []string {
	node := obj.(*corev1.Node)
	var warnings []string
	if node.Spec.ConfigSource != nil {
		warnings = append(warnings, "spec.configSource: the feature is no longer supported")
	}
	if node.Spec.DoNotUseExternalID != "" {
		warnings = append(warnings, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
	}
	for i, cidr := range node.Spec.PodCIDRs {
		warnings = append(warnings, validation.GetWarningsForCIDR(field.NewPath("spec", "podCIDRs").Index(i), cidr)...)
	}
	return warnings
}

// selectorWarnings warns of labels that nodes no longer have.
func selectorWarnings(path *field.Path, selector map[string]string) []string {
	var warnings []string
	for _, key := range sortedKeys(selector) {
		if message, found := replacedNodeLabels[key]; found {
			warnings = append(warnings, fmt.Sprintf("%s: %s", path.Key(key), message))
		}
	}
	return warnings
}
