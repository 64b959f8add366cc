package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/kubelite/kubelite/apiserver/registry"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

var serviceCIDRs = networkingv1.Resource("servicecidrs")

// ensureServiceCIDR makes the ServiceCIDR "kubernetes" of the configured ranges, and adds a second one where there was one. Ranges that
// differ otherwise stay as they are: Services have addresses of them.
func (s *Server) ensureServiceCIDR(ctx context.Context) error {
	wanted := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: registry.DefaultServiceCIDR}}
	for _, cidr := range s.config.ServiceCIDRs {
		wanted.Spec.CIDRs = append(wanted.Spec.CIDRs, cidr.Masked().String())
	}
	err := s.ensure(ctx, serviceCIDRs, wanted, func(current Object) {
		cidr := current.(*networkingv1.ServiceCIDR)
		upgrades := len(cidr.Spec.CIDRs) == 1 && len(wanted.Spec.CIDRs) == 2 && cidr.Spec.CIDRs[0] == wanted.Spec.CIDRs[0]
		switch {
		case upgrades:
			cidr.Spec.CIDRs = wanted.Spec.CIDRs
		case !slices.Equal(cidr.Spec.CIDRs, wanted.Spec.CIDRs):
			slog.Warn("the ServiceCIDR kubernetes stays as it is", "ranges", cidr.Spec.CIDRs, "configured", wanted.Spec.CIDRs)
			s.warnEvent(ctx, cidr, "KubernetesDefaultServiceCIDRInconsistent", "", fmt.Sprintf(
				"The default ServiceCIDR %v does not match the controller flag configurations %s", cidr.Spec.CIDRs, wanted.Spec.CIDRs))
		}
	})
	if err != nil {
		return fmt.Errorf("make ServiceCIDR %s: %w", registry.DefaultServiceCIDR, err)
	}
	return nil
}

// releaseServiceCIDRs lets deleted ServiceCIDRs go that no Service needs any more, and says on the others why they stay. No address is
// given out of a ServiceCIDR that is being deleted, so that one not in use stays so.
func (s *Server) releaseServiceCIDRs(ctx context.Context) error {
	for _, obj := range s.storedAll(serviceCIDRs) {
		if obj.GetDeletionTimestamp() == nil || !slices.Contains(obj.GetFinalizers(), registry.ServiceCIDRFinalizer) {
			continue
		}
		c, err := s.ownCall(ctx, serviceCIDRs, "", obj.GetName())
		if err != nil {
			return err
		}
		if c.resource.InUse(obj) {
			err = c.sayServiceCIDRInUse()
		} else {
			_, _, err = c.modify(change{next: func(current Object) (Object, error) {
				current.SetFinalizers(slices.DeleteFunc(current.GetFinalizers(), func(finalizer string) bool {
					return finalizer == registry.ServiceCIDRFinalizer
				}))
				return current, nil
			}})
		}
		if err != nil {
			return fmt.Errorf("release ServiceCIDR %s: %w", obj.GetName(), err)
		}
	}
	return nil
}

func (c *call) sayServiceCIDRInUse() error {
	_, _, err := c.modify(change{
		subresource: "status",
		strategy:    c.resource.Status,
		next: func(current Object) (Object, error) {
			meta.SetStatusCondition(&current.(*networkingv1.ServiceCIDR).Status.Conditions, metav1.Condition{
				Type:    networkingv1.ServiceCIDRConditionReady,
				Status:  metav1.ConditionFalse,
				Reason:  networkingv1.ServiceCIDRReasonTerminating,
				Message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
			})
			return current, nil
		},
	})
	return err
}

// warnEvent records what is wrong with an object, as Kubernetes' controllers do. An event that cannot be written is logged.
func (s *Server) warnEvent(ctx context.Context, about Object, reason, action, message string) {
	kind := about.GetObjectKind().GroupVersionKind()
	namespace := about.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	name := about.GetName()
	if len(validation.IsDNS1123Subdomain(name)) > 0 { // an IPv6 address
		name = strings.ToLower(kind.Kind)
	}
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: s.generateName(name + "."), Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, ResourceVersion: about.GetResourceVersion(),
			Namespace: about.GetNamespace(), Name: about.GetName(), UID: about.GetUID(),
		},
		Type: corev1.EventTypeWarning, Reason: reason, Message: message, Action: action,
		Source:              corev1.EventSource{Component: addressRepair},
		FirstTimestamp:      now,
		LastTimestamp:       now,
		Count:               1,
		ReportingController: addressRepair,
	}
	c, err := s.ownCall(ctx, corev1.Resource("events"), namespace, event.Name)
	if err == nil {
		event.SetGroupVersionKind(c.resource.GroupVersionKind)
		_, err = c.createObject(event, writeOptions{})
	}
	if err != nil {
		slog.Warn("event not recorded", "about", about.GetName(), "reason", reason, "message", message, "error", err)
	}
}
