package registry

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// serviceAllocation hands out ClusterIPs and node ports. It holds only what stored Services, and those about to be
// stored, have; the Services themselves are the durable record.
type serviceAllocation struct {
	ips   *pool
	ports *pool
	cidr  netip.Prefix
	// first is the address of pool number 0: the network's own address.
	first netip.Addr
}

func newServiceAllocation(config Config) *serviceAllocation {
	cidr := config.ServiceCIDR.Masked()
	return &serviceAllocation{
		ips:   newIPPool(cidr, config.IntN),
		ports: newPortPool(config.NodePortFirst, config.NodePortLast, config.IntN),
		cidr:  cidr,
		first: cidr.Addr(),
	}
}

// load reserves what a stored Service holds. What is out of range, after a change of flags, stays with its Service.
func (a *serviceAllocation) load(service *corev1.Service) {
	ip, ports := a.held(service)
	if ip >= 0 {
		a.ips.reserve(ip)
	}
	for _, port := range ports {
		a.ports.reserve(port)
	}
}

func (a *serviceAllocation) release(service *corev1.Service) {
	ip, ports := a.held(service)
	if ip >= 0 {
		a.ips.free(ip)
	}
	for _, port := range ports {
		a.ports.free(port)
	}
}

// held are the numbers that a Service occupies: its ClusterIP's (-1: none) and its node ports, each once.
func (a *serviceAllocation) held(service *corev1.Service) (ip int, ports []int) {
	ip = -1
	if service == nil {
		return ip, nil
	}
	spec := &service.Spec
	if hasClusterIPType(spec.Type) && !isHeadless(spec) && spec.ClusterIP != "" {
		ip = a.ipNumber(spec.ClusterIP)
	}
	if spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, port := range spec.Ports {
			if port.NodePort != 0 && !slices.Contains(ports, int(port.NodePort)) {
				ports = append(ports, int(port.NodePort))
			}
		}
		if spec.HealthCheckNodePort != 0 && needsHealthCheckNodePort(spec) {
			ports = append(ports, int(spec.HealthCheckNodePort))
		}
	}
	return ip, ports
}

// admit makes the Admit function of Services.
func (a *serviceAllocation) admit(kind *Kind) func(context.Context, Object, Object) (func(bool), error) {
	return func(_ context.Context, obj, old Object) (func(bool), error) {
		service := obj.(*corev1.Service)
		var before *corev1.Service
		if old != nil {
			before = old.(*corev1.Service)
		}
		setIPFamilies(&service.Spec)
		reservation := &serviceReservation{allocation: a, kind: kind, service: service}
		reservation.oldIP, reservation.oldPorts = a.held(before)
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

	oldIP, newIP       int
	oldPorts, newPorts []int
}

func (r *serviceReservation) make() error {
	r.newIP = -1
	spec := &r.service.Spec
	if hasClusterIPType(spec.Type) && !isHeadless(spec) {
		if err := r.reserveClusterIP(spec); err != nil {
			return err
		}
	}
	if spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer {
		if err := r.reserveNodePorts(spec); err != nil {
			return err
		}
	}
	if needsHealthCheckNodePort(spec) {
		return r.reserveHealthCheckNodePort(spec)
	}
	return nil
}

// finish gives back what is not held any more: what was reserved, if the write failed, else what the old Service had.
func (r *serviceReservation) finish(committed bool) {
	if !committed {
		if r.newIP >= 0 {
			r.allocation.ips.free(r.newIP)
		}
		for _, port := range r.newPorts {
			r.allocation.ports.free(port)
		}
		return
	}
	ip, ports := r.allocation.held(r.service)
	if r.oldIP >= 0 && r.oldIP != ip {
		r.allocation.ips.free(r.oldIP)
	}
	for _, port := range r.oldPorts {
		if !slices.Contains(ports, port) {
			r.allocation.ports.free(port)
		}
	}
}

func (r *serviceReservation) reserveClusterIP(spec *corev1.ServiceSpec) error {
	if spec.ClusterIP == "" {
		number, err := r.allocation.ips.next()
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP: %w", err))
		}
		r.newIP = number
		spec.ClusterIP = r.allocation.ipAddress(number)
		spec.ClusterIPs = []string{spec.ClusterIP}
		return nil
	}
	number := r.allocation.ipNumber(spec.ClusterIP)
	if number >= 0 && number == r.oldIP {
		return nil
	}
	if err := r.allocation.takeIP(spec.ClusterIP, number); err != nil {
		return r.invalid(field.NewPath("spec", "clusterIPs"), spec.ClusterIPs,
			fmt.Sprintf("failed to allocate IP %v: %v", spec.ClusterIP, err))
	}
	r.newIP = number
	return nil
}

// reserveNodePorts gives one node port to all ports of the same number: DNS on 53/UDP and 53/TCP gets one.
func (r *serviceReservation) reserveNodePorts(spec *corev1.ServiceSpec) error {
	byPort := map[int32]int32{}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if port.NodePort == 0 && !needsNodePorts(spec) {
			continue
		}
		same, found := byPort[port.Port]
		switch {
		case found && (port.NodePort == 0 || port.NodePort == same):
			port.NodePort = same
			continue
		case port.NodePort == 0:
			number, err := r.allocation.ports.next()
			if err != nil {
				return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
			}
			r.newPorts = append(r.newPorts, number)
			port.NodePort = int32(number)
		default:
			if err := r.takePort(int(port.NodePort)); err != nil {
				return r.invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), port.NodePort, err.Error())
			}
		}
		byPort[port.Port] = port.NodePort
	}
	return nil
}

func (r *serviceReservation) reserveHealthCheckNodePort(spec *corev1.ServiceSpec) error {
	if spec.HealthCheckNodePort != 0 {
		if err := r.takePort(int(spec.HealthCheckNodePort)); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %w", spec.HealthCheckNodePort, err))
		}
		return nil
	}
	number, err := r.allocation.ports.next()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))
	}
	r.newPorts = append(r.newPorts, number)
	spec.HealthCheckNodePort = int32(number)
	return nil
}

// takePort reserves an asked-for port; a port that the old Service held is its own already.
func (r *serviceReservation) takePort(port int) error {
	if slices.Contains(r.oldPorts, port) {
		return nil
	}
	if err := r.allocation.ports.take(port); err != nil {
		return err
	}
	r.newPorts = append(r.newPorts, port)
	return nil
}

func (r *serviceReservation) invalid(path *field.Path, value any, detail string) error {
	return apierrors.NewInvalid(r.kind.GroupVersionKind.GroupKind(), r.service.Name, field.ErrorList{field.Invalid(path, value, detail)})
}

// portPoolRange is "30000-32767".
func portPoolRange(first, last int) string {
	return strconv.Itoa(first) + "-" + strconv.Itoa(last)
}
