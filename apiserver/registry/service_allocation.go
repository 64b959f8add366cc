package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// serviceAllocation hands out ClusterIPs and node ports. Of node ports it holds what stored Services, and those about to be
// stored, have; the Services themselves are the durable record, and IPAddress objects that of ClusterIPs.
type serviceAllocation struct {
	addresses *addressPool
	ports     *pool
	families  serviceFamilies
}

func newServiceAllocation(config Config, addresses *addressPool) *serviceAllocation {
	allocation := &serviceAllocation{
		addresses: addresses,
		ports:     newPortPool(config.NodePortFirst, config.NodePortLast, config.IntN),
	}
	for _, cidr := range config.ServiceCIDRs {
		allocation.families = append(allocation.families, familyOf(cidr.Addr()))
	}
	return allocation
}

// load reserves the node ports of a stored Service. What is out of range, after a change of flags, stays with its Service.
func (a *serviceAllocation) load(service *corev1.Service) {
	for _, port := range ServiceNodePorts(service) {
		a.ports.reserve(port)
	}
}

func (a *serviceAllocation) release(service *corev1.Service) {
	for _, port := range ServiceNodePorts(service) {
		a.ports.free(port)
	}
}

// ServiceNodePorts are the node ports, that of the health check included, that a Service occupies, each once.
func ServiceNodePorts(service *corev1.Service) []int {
	var ports []int
	if service == nil || !hasNodePortType(&service.Spec) {
		return nil
	}
	for _, port := range nodePorts(&service.Spec) {
		if !slices.Contains(ports, int(port)) {
			ports = append(ports, int(port))
		}
	}
	if service.Spec.HealthCheckNodePort != 0 && needsHealthCheckNodePort(&service.Spec) {
		ports = append(ports, int(service.Spec.HealthCheckNodePort))
	}
	return ports
}

// ServiceAddresses are the addresses that a Service occupies: its ClusterIPs, unless it is headless.
func ServiceAddresses(service *corev1.Service) []netip.Addr {
	if service == nil || !needsClusterIP(&service.Spec) {
		return nil
	}
	var addresses []netip.Addr
	for _, text := range service.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil { // "None" is none
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// along are the IPAddress objects that come and go with a Service. Either may be nil. An IPAddress that belongs to another
// Service, because both were given the same address once, stays.
func (a *serviceAllocation) along(service, old *corev1.Service) (set, removed []Object) {
	now, before := ServiceAddresses(service), ServiceAddresses(old)
	for _, address := range now {
		if !slices.Contains(before, address) {
			set = append(set, ServiceIPAddress(service, address))
		}
	}
	for _, address := range before {
		stored, _ := a.addresses.get(ipAddressResource, "", address.String()).(*networkingv1.IPAddress)
		if !slices.Contains(now, address) && stored != nil && BelongsTo(stored, old) {
			removed = append(removed, stored)
		}
	}
	return set, removed
}

// begin makes the Begin function of Services: first what the cluster chose is kept and families are filled in, then addresses and
// node ports are allocated, all of it before validation, as Kubernetes does.
func (a *serviceAllocation) begin(kind *Kind) func(context.Context, Object, Object) (func(bool), error) {
	return func(_ context.Context, obj, old Object) (func(bool), error) {
		reservation := &serviceReservation{allocation: a, kind: kind, service: obj.(*corev1.Service)}
		var before *corev1.ServiceSpec
		if old != nil {
			reservation.before = old.(*corev1.Service).DeepCopy()
			before = &reservation.before.Spec
			keepAllocated(&reservation.service.Spec, before)
		}
		normalizeClusterIPs(&reservation.service.Spec, before)
		reservation.oldPorts = ServiceNodePorts(reservation.before)
		if err := reservation.make(); err != nil {
			reservation.finish(false)
			return nil, err
		}
		return reservation.finish, nil
	}
}

// serviceReservation is what one write of a Service takes beyond what the old Service held.
type serviceReservation struct {
	allocation *serviceAllocation
	kind       *Kind
	service    *corev1.Service
	before     *corev1.Service // nil on create

	addresses          []netip.Addr
	oldPorts, newPorts []int
}

func (r *serviceReservation) make() error {
	if errs := r.allocation.families.fill(r.service, r.before); len(errs) > 0 {
		return r.invalid(errs)
	}
	if err := r.reserveClusterIPs(&r.service.Spec); err != nil {
		return err
	}
	if hasNodePortType(&r.service.Spec) {
		if err := r.reserveNodePorts(&r.service.Spec); err != nil {
			return err
		}
	}
	if needsHealthCheckNodePort(&r.service.Spec) {
		return r.reserveHealthCheckNodePort(&r.service.Spec)
	}
	return nil
}

// finish gives back what is not held any more: what was reserved, if the write failed, else what the old Service had.
func (r *serviceReservation) finish(committed bool) {
	r.allocation.addresses.free(r.addresses)
	if !committed {
		for _, port := range r.newPorts {
			r.allocation.ports.free(port)
		}
		return
	}
	ports := ServiceNodePorts(r.service)
	for _, port := range r.oldPorts {
		if !slices.Contains(ports, port) {
			r.allocation.ports.free(port)
		}
	}
}

// reserveClusterIPs gives each family its address. Of a Service that had ClusterIPs, or was headless, only a second family is new.
func (r *serviceReservation) reserveClusterIPs(spec *corev1.ServiceSpec) error {
	first, end := 0, len(spec.IPFamilies)
	if !needsClusterIP(spec) || isHeadless(spec) {
		return nil
	}
	if r.before != nil && needsClusterIP(&r.before.Spec) {
		if isHeadless(&r.before.Spec) || samePreferDualStack(r.service, r.before) ||
			len(r.before.Spec.IPFamilies) != 1 || len(spec.IPFamilies) != 2 {
			return nil
		}
		first = 1
	}
	spec.ClusterIPs = slices.Clone(spec.ClusterIPs)
	for i := first; i < end; i++ {
		if i >= len(spec.ClusterIPs) {
			spec.ClusterIPs = append(spec.ClusterIPs, "")
		}
		address, err := r.reserveAddress(spec, spec.IPFamilies[i], spec.ClusterIPs[i])
		if err != nil {
			return err
		}
		spec.ClusterIPs[i] = address.String()
	}
	spec.ClusterIP = spec.ClusterIPs[0]
	return nil
}

func (r *serviceReservation) reserveAddress(spec *corev1.ServiceSpec, family corev1.IPFamily, asked string) (netip.Addr, error) {
	if asked == "" {
		address, err := r.allocation.addresses.next(family)
		if err != nil {
			return address, apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", r.service.Name, err))
		}
		r.addresses = append(r.addresses, address)
		return address, nil
	}
	address, err := netip.ParseAddr(asked)
	if err != nil {
		return address, apierrors.NewInternalError(fmt.Errorf("failed to parse service IP %q", asked))
	}
	if err := r.allocation.addresses.take(address); err != nil {
		return address, r.invalid(field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), spec.ClusterIPs,
			fmt.Sprintf("failed to allocate IP %v: %v", asked, err))})
	}
	r.addresses = append(r.addresses, address)
	return address, nil
}

// reserveNodePorts gives one node port to all ports of the same number of a new Service: DNS on 53/UDP and 53/TCP gets one. On
// update each port without one gets its own.
func (r *serviceReservation) reserveNodePorts(spec *corev1.ServiceSpec) error {
	byNumber := map[int32]int32{}
	type use struct {
		protocol corev1.Protocol
		nodePort int32
	}
	uses := seen[use]{}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if port.NodePort == 0 && !allocatesNodePorts(spec) {
			continue
		}
		reserve := func() error { return r.shareNodePort(spec.Ports, i, byNumber) }
		if r.before != nil {
			reserve = func() error { return r.reserveNodePort(i, port) }
		}
		if err := reserve(); err != nil {
			return err
		}
		if r.before != nil && uses.before(use{port.Protocol, port.NodePort}) {
			return &apierrors.StatusError{ErrStatus: metav1.Status{
				Status:  metav1.StatusFailure,
				Code:    http.StatusInternalServerError,
				Message: fmt.Sprintf("duplicate nodePort: {%s %d}", port.Protocol, port.NodePort),
			}}
		}
	}
	return nil
}

// shareNodePort gives a port of a new Service the node port of the others of its number, or its own if it asks for another.
func (r *serviceReservation) shareNodePort(ports []corev1.ServicePort, i int, byNumber map[int32]int32) error {
	port := &ports[i]
	same, found := byNumber[port.Port]
	switch {
	case !found:
		port.NodePort = askedNodePort(ports, port.Port)
	case port.NodePort == 0 || port.NodePort == same:
		port.NodePort = same
		return nil
	}
	var err error
	if port.NodePort == 0 {
		err = r.nextNodePort(port)
	} else {
		err = r.takeNodePort(i, port.NodePort)
	}
	if !found {
		byNumber[port.Port] = port.NodePort
	}
	return err
}

// reserveNodePort gives a port of a changed Service a node port; what the Service had, or asked for before, is its own.
func (r *serviceReservation) reserveNodePort(i int, port *corev1.ServicePort) error {
	switch {
	case port.NodePort == 0:
		return r.nextNodePort(port)
	case slices.Contains(nodePorts(&r.before.Spec), port.NodePort) || slices.Contains(r.newPorts, int(port.NodePort)):
		return nil
	}
	return r.takeNodePort(i, port.NodePort)
}

func (r *serviceReservation) nextNodePort(port *corev1.ServicePort) error {
	number, err := r.allocation.ports.next()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
	}
	r.newPorts = append(r.newPorts, number)
	port.NodePort = int32(number)
	return nil
}

func (r *serviceReservation) takeNodePort(i int, asked int32) error {
	if err := r.allocation.ports.take(int(asked)); err != nil {
		return r.invalid(field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), asked, err.Error())})
	}
	r.newPorts = append(r.newPorts, int(asked))
	return nil
}

// askedNodePort is the first node port that was asked for any port of a number, or 0.
func askedNodePort(ports []corev1.ServicePort, number int32) int32 {
	for _, port := range ports {
		if port.Port == number && port.NodePort != 0 {
			return port.NodePort
		}
	}
	return 0
}

func (r *serviceReservation) reserveHealthCheckNodePort(spec *corev1.ServiceSpec) error {
	if r.before != nil && needsHealthCheckNodePort(&r.before.Spec) {
		return nil // it is immutable
	}
	if spec.HealthCheckNodePort != 0 {
		if err := r.allocation.ports.take(int(spec.HealthCheckNodePort)); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %w", spec.HealthCheckNodePort, err))
		}
		r.newPorts = append(r.newPorts, int(spec.HealthCheckNodePort))
		return nil
	}
	number, err := r.allocation.ports.next()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort 0: %w", err))
	}
	r.newPorts = append(r.newPorts, number)
	spec.HealthCheckNodePort = int32(number)
	return nil
}

func (r *serviceReservation) invalid(errs field.ErrorList) error {
	return apierrors.NewInvalid(r.kind.GroupVersionKind.GroupKind(), r.service.Name, errs)
}

// portPoolRange is "30000-32767".
func portPoolRange(first, last int) string {
	return strconv.Itoa(first) + "-" + strconv.Itoa(last)
}
