package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Flags of a virtual server: IP_VS_SVC_F_PERSISTENT, and IP_VS_SVC_F_SCHED_MH_PORT, by which scheduler mh looks at the
// client's port, too.
const (
	flagPersistent  = 0x1
	flagHashedPorts = 0x10
)

var protocolNumbers = map[corev1.Protocol]uint16{
	corev1.ProtocolTCP:  unix.IPPROTO_TCP,
	corev1.ProtocolUDP:  unix.IPPROTO_UDP,
	corev1.ProtocolSCTP: unix.IPPROTO_SCTP,
}

func protocolOf(number uint16) (corev1.Protocol, bool) {
	for protocol, candidate := range protocolNumbers {
		if candidate == number {
			return protocol, true
		}
	}
	return "", false
}

func (k *linuxKernel) service(s server, with settings) *ipvs.Service {
	service := &ipvs.Service{
		AddressFamily: uint16(k.family),
		Protocol:      protocolNumbers[s.protocol],
		Address:       s.address.Addr().AsSlice(),
		Port:          s.address.Port(),
		SchedName:     with.scheduler,
		Netmask:       0xffffffff,
	}
	if k.family == unix.AF_INET6 {
		service.Netmask = 128 // a length there
	}
	if with.persistent > 0 {
		service.Flags, service.Timeout = flagPersistent, with.persistent
	}
	if with.scheduler == "mh" {
		service.Flags |= flagHashedPorts
	}
	return service
}

func (k *linuxKernel) servers() (map[server]settings, error) {
	services, err := k.ipvs.GetServices()
	if err != nil {
		return nil, fmt.Errorf("list virtual servers: %w", err)
	}
	all := make(map[server]settings, len(services))
	for _, service := range services {
		protocol, known := protocolOf(service.Protocol)
		address, ok := netip.AddrFromSlice(service.Address)
		if int(service.AddressFamily) != k.family || service.FWMark != 0 || !known || !ok {
			continue
		}
		has := settings{scheduler: service.SchedName}
		if service.Flags&flagPersistent != 0 {
			has.persistent = service.Timeout
		}
		all[server{protocol, netip.AddrPortFrom(address, service.Port)}] = has
	}
	return all, nil
}

func (k *linuxKernel) destinations(s server) (map[netip.AddrPort]destination, error) {
	found, err := k.ipvs.GetDestinations(k.service(s, settings{}))
	if err != nil {
		return nil, fmt.Errorf("list destinations of virtual server %s: %w", s, err)
	}
	all := make(map[netip.AddrPort]destination, len(found))
	for _, d := range found {
		address, ok := netip.AddrFromSlice(d.Address)
		if !ok {
			return nil, fmt.Errorf("list destinations of virtual server %s: %w", s, net.InvalidAddrError(d.Address.String()))
		}
		all[netip.AddrPortFrom(address, d.Port)] = destination{d.Weight, d.ActiveConnections + d.InactiveConnections}
	}
	return all, nil
}

func (k *linuxKernel) addServer(s server, with settings) error {
	if err := k.ipvs.NewService(k.service(s, with)); err != nil {
		return fmt.Errorf("add virtual server %s: %w", s, explain(err, with.scheduler))
	}
	return nil
}

func (k *linuxKernel) changeServer(s server, with settings) error {
	if err := k.ipvs.UpdateService(k.service(s, with)); err != nil {
		return fmt.Errorf("change virtual server %s: %w", s, explain(err, with.scheduler))
	}
	return nil
}

// explain names the module of a scheduler that the kernel does not find.
func explain(err error, scheduler string) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("scheduler %s: %w", scheduler, missingModule("ip_vs_"+scheduler))
	}
	return err
}

func (k *linuxKernel) deleteServer(s server) error {
	if err := k.ipvs.DelService(k.service(s, settings{})); err != nil {
		return fmt.Errorf("delete virtual server %s: %w", s, err)
	}
	return nil
}

func (k *linuxKernel) addDestination(s server, to netip.AddrPort) error {
	if err := k.ipvs.NewDestination(k.service(s, settings{}), k.destination(to, 1)); err != nil {
		return fmt.Errorf("add destination %s to virtual server %s: %w", to, s, err)
	}
	return nil
}

func (k *linuxKernel) setWeight(s server, to netip.AddrPort, weight int) error {
	if err := k.ipvs.UpdateDestination(k.service(s, settings{}), k.destination(to, weight)); err != nil {
		return fmt.Errorf("give destination %s of virtual server %s the weight %d: %w", to, s, weight, err)
	}
	return nil
}

func (k *linuxKernel) deleteDestination(s server, to netip.AddrPort) error {
	if err := k.ipvs.DelDestination(k.service(s, settings{}), k.destination(to, 0)); err != nil {
		return fmt.Errorf("delete destination %s of virtual server %s: %w", to, s, err)
	}
	return nil
}

func (k *linuxKernel) destination(to netip.AddrPort, weight int) *ipvs.Destination {
	return &ipvs.Destination{
		AddressFamily:   uint16(k.family),
		Address:         to.Addr().AsSlice(),
		Port:            to.Port(),
		Weight:          weight,
		ConnectionFlags: ipvs.ConnectionFlagMasq,
	}
}
