package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// addressRepair is who events of the repair come from.
	addressRepair = "ipallocator-repair-controller"
	// addressRepairDelay is how long after an IPAddress was changed by someone else all of them are looked at again.
	addressRepairDelay = time.Second
)

var (
	services    = corev1.Resource("services")
	ipAddresses = networkingv1.Resource("ipaddresses")
)

// repairServiceAddresses makes the IPAddress objects those of the Services' ClusterIPs, and says in events what it found (Kubernetes'
// ipallocator repair loop). Since both are written in one transaction, something is found only after others have changed
// them: kubectl delete ipaddress, a restored file, ranges that were changed.
func (s *Server) repairServiceAddresses(ctx context.Context) error {
	for _, obj := range s.storedAll(services) {
		service := obj.(*corev1.Service)
		for _, address := range registry.ServiceAddresses(service) {
			current, _ := s.stored(services, service.Namespace, service.Name).(*corev1.Service)
			if !slices.Contains(registry.ServiceAddresses(current), address) {
				continue // it has changed meanwhile
			}
			if err := s.repairServiceAddress(ctx, service, address); err != nil {
				return fmt.Errorf("repair address %s of Service %s/%s: %w", address, service.Namespace, service.Name, err)
			}
		}
	}
	for _, obj := range s.storedAll(ipAddresses) {
		if err := s.repairIPAddress(ctx, obj.(*networkingv1.IPAddress)); err != nil {
			return fmt.Errorf("repair IPAddress %s: %w", obj.GetName(), err)
		}
	}
	return nil
}

// repairServiceAddress gives a Service's address the IPAddress object that it must have.
func (s *Server) repairServiceAddress(ctx context.Context, service *corev1.Service, address netip.Addr) error {
	family := corev1.IPv4Protocol
	if address.Is6() {
		family = corev1.IPv6Protocol
	}
	warn := func(reason, message string) {
		slog.Warn(message, "service", service.Namespace+"/"+service.Name)
		s.warnEvent(ctx, service, reason, "ClusterIPAllocation", message)
	}
	stored, _ := s.stored(ipAddresses, "", address.String()).(*networkingv1.IPAddress)
	switch {
	case !s.inAnyServiceCIDR(address):
		warn("ClusterIPOutOfRange", fmt.Sprintf("Cluster IP [%s]: %s is not within any configured Service CIDR; please recreate service", family, address))
		return nil
	case stored == nil:
		warn("ClusterIPNotAllocated", fmt.Sprintf("Cluster IP [%s]: %s is not allocated; repairing", family, address))
	case registry.BelongsTo(stored, service) && registry.HasAllocatorLabels(stored):
		return nil
	case registry.BelongsTo(stored, service):
		// only its labels were changed
	case s.addressOfOther(stored) != nil:
		warn("ClusterIPAlreadyAllocated", fmt.Sprintf("Cluster IP [%s]:%s was assigned to multiple services; please recreate service", family, address))
		return nil
	default:
		warn("ClusterIPNotAllocated", fmt.Sprintf("the ClusterIP [%s]: %s for Service %s/%s has a wrong reference; repairing", family, address, service.Namespace, service.Name))
	}
	if stored != nil {
		if err := s.deleteOwn(ctx, ipAddresses, stored); err != nil {
			return err
		}
	}
	c, err := s.ownCall(ctx, ipAddresses, "", address.String())
	if err != nil {
		return err
	}
	_, err = c.createObject(registry.ServiceIPAddress(service, address), writeOptions{})
	return err
}

// repairIPAddress removes an IPAddress that was made for a Service's address and is not any more.
func (s *Server) repairIPAddress(ctx context.Context, address *networkingv1.IPAddress) error {
	parent := address.Spec.ParentRef
	if !registry.HasAllocatorLabels(address) || parent == nil {
		return nil // someone else's
	}
	var reason, message string
	switch {
	case parent.Group != "" || parent.Resource != services.Resource:
		reason, message = "IPAddressNotAllocated", fmt.Sprintf("IPAddress %s appears to have been modified, not referencing a Service %v: cleaning up", address.Name, parent)
	case s.addressOfOther(address) != nil:
		return nil
	case s.stored(services, parent.Namespace, parent.Name) == nil:
		reason, message = "IPAddressNotAllocated", fmt.Sprintf("IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", address.Name, parent.Namespace, parent.Name)
	default:
		reason, message = "IPAddressWrongReference", fmt.Sprintf("IPAddress: %s for Service %s/%s has a wrong reference; cleaning up", address.Name, parent.Namespace, parent.Name)
	}
	slog.Warn(message)
	s.warnEvent(ctx, address, reason, "IPAddressAllocation", message)
	return s.deleteOwn(ctx, ipAddresses, address)
}

// addressOfOther is the Service that an IPAddress names, if it has the address.
func (s *Server) addressOfOther(address *networkingv1.IPAddress) *corev1.Service {
	parent := address.Spec.ParentRef
	if parent == nil || parent.Group != "" || parent.Resource != services.Resource {
		return nil
	}
	service, _ := s.stored(services, parent.Namespace, parent.Name).(*corev1.Service)
	own, err := netip.ParseAddr(address.Name)
	if err != nil || !slices.Contains(registry.ServiceAddresses(service), own) {
		return nil
	}
	return service
}

func (s *Server) inAnyServiceCIDR(address netip.Addr) bool {
	for _, obj := range s.storedAll(serviceCIDRs) {
		if registry.ServiceCIDRHas(obj.(*networkingv1.ServiceCIDR), address) {
			return true
		}
	}
	return false
}

// deleteOwn removes an object on the server's own account; one that has gone already is no error.
func (s *Server) deleteOwn(ctx context.Context, resource schema.GroupResource, obj Object) error {
	c, err := s.ownCall(ctx, resource, obj.GetNamespace(), obj.GetName())
	if err != nil {
		return err
	}
	if _, err := c.deleteObject(c.key(), &metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// keepServiceAddresses repairs addresses after others have changed IPAddresses, and lets deleted ServiceCIDRs go, until the server stops.
func (s *Server) keepServiceAddresses(ctx context.Context) {
	repair := make(<-chan time.Time) // never: bootstrap has done it
	for {
		select {
		case <-s.stopping:
			return
		default:
			s.followServiceAddresses(ctx, repair)
			repair = time.After(0)
		}
	}
}

// followServiceAddresses returns when the server stops, or a watch has fallen behind. It repairs what repair says is due, too.
func (s *Server) followServiceAddresses(ctx context.Context, repair <-chan time.Time) {
	var changes [2]<-chan store.Event
	for i, resource := range []schema.GroupResource{serviceCIDRs, ipAddresses} {
		watcher, err := s.store.Watch(resource, "", 0)
		if err != nil {
			slog.Error("service addresses not watched", "resource", resource, "error", err)
			return
		}
		defer watcher.Stop()
		changes[i] = watcher.Events()
	}
	due := false
	for {
		select {
		case event, open := <-changes[0]:
			if !open {
				return
			}
			switch {
			case event.Type == store.Deleted && event.Item.Key.Name == registry.DefaultServiceCIDR:
				if err := s.ensureServiceCIDR(ctx); err != nil {
					slog.Warn("default ServiceCIDR not made again", "error", err)
				}
			case event.Type == store.Deleted, event.Item.Object.GetDeletionTimestamp() != nil:
				s.tryReleaseServiceCIDRs(ctx)
			}
		case event, open := <-changes[1]:
			if !open {
				return
			}
			if event.Type == store.Deleted {
				s.tryReleaseServiceCIDRs(ctx)
			}
			if !due && s.isForeignChange(event) {
				repair, due = time.After(addressRepairDelay), true
			}
		case <-repair:
			due = false
			s.tryReleaseServiceCIDRs(ctx)
			if err := s.repairServiceAddresses(ctx); err != nil {
				slog.Warn("service addresses not repaired", "error", err)
				repair, due = time.After(ownRetry), true
			}
		case <-s.stopping:
			return
		}
	}
}

func (s *Server) tryReleaseServiceCIDRs(ctx context.Context) {
	if err := s.releaseServiceCIDRs(ctx); err != nil {
		slog.Warn("ServiceCIDRs not released", "error", err)
	}
}

// isForeignChange reports whether a change of an IPAddress leaves it at odds with its Service: it was not written with it.
func (s *Server) isForeignChange(event store.Event) bool {
	address := event.Item.Object.(*networkingv1.IPAddress)
	used := s.addressOfOther(address) != nil
	if event.Type == store.Deleted {
		return used
	}
	return !used
}

// reportNodePorts says in events which stored Services have node ports that others have too, or that are out of range (Kubernetes'
// portallocator repair loop).
func (s *Server) reportNodePorts(ctx context.Context) {
	holders := map[int]*corev1.Service{}
	for _, obj := range s.storedAll(services) {
		service := obj.(*corev1.Service)
		for _, port := range registry.ServiceNodePorts(service) {
			var reason, message string
			switch other := holders[port]; {
			case port < s.config.NodePortFirst || port > s.config.NodePortLast:
				reason, message = "PortOutOfRange", fmt.Sprintf("Port %d is not within the port range %d-%d; please recreate service", port, s.config.NodePortFirst, s.config.NodePortLast)
			case other != nil:
				reason, message = "PortAlreadyAllocated", fmt.Sprintf("Port %d was assigned to multiple services; please recreate service", port)
			default:
				holders[port] = service
				continue
			}
			slog.Warn(message, "service", service.Namespace+"/"+service.Name)
			s.warnEvent(ctx, service, reason, "PortAllocation", message)
		}
	}
}
