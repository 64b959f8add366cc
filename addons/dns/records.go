package dns

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	byNamespace = cache.NamespaceIndex
	byAddress   = "address"
	byService   = "service"
)

// records are the objects that names come from. Safe for concurrent use.
type records struct {
	services cache.Indexer // of *corev1.Service, with serviceIndexers
	slices   cache.Indexer // of *discoveryv1.EndpointSlice, with sliceIndexers
}

var serviceIndexers = cache.Indexers{
	byNamespace: cache.MetaNamespaceIndexFunc,
	byAddress: func(object any) ([]string, error) {
		if service, ok := object.(*corev1.Service); ok {
			return service.Spec.ClusterIPs, nil
		}
		return nil, nil
	},
}

var sliceIndexers = cache.Indexers{
	byService: func(object any) ([]string, error) {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
			return nil, nil
		}
		return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
	},
	byAddress: func(object any) ([]string, error) {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			return nil, nil
		}
		var addresses []string
		for i := range slice.Endpoints {
			addresses = append(addresses, slice.Endpoints[i].Addresses...)
		}
		return addresses, nil
	},
}

// port is a port of a Service or an endpoint. The name is empty for the only port that was left unnamed.
type port struct {
	name     string
	protocol string // lower case
	number   uint16
}

// endpoint is one ready address of a Service.
type endpoint struct {
	name    string // its label below the Service's name
	address netip.Addr
	ports   []port
}

func (r records) service(namespace, name string) (*corev1.Service, bool) {
	object, exists, err := r.services.GetByKey(namespace + "/" + name)
	if err != nil || !exists {
		return nil, false // GetByKey of a store in memory has no errors
	}
	return object.(*corev1.Service), true
}

func (r records) hasNamespace(namespace string) bool {
	keys, err := r.services.IndexKeys(byNamespace, namespace)
	return err == nil && len(keys) > 0
}

func servicePorts(service *corev1.Service) []port {
	var ports []port
	for _, spec := range service.Spec.Ports {
		ports = append(ports, port{spec.Name, protocolName(spec.Protocol), uint16(spec.Port)})
	}
	return ports
}

// endpoints are the ready endpoints of a Service, each address once, sorted.
func (r records) endpoints(namespace, name string) []endpoint {
	found, err := r.slices.ByIndex(byService, namespace+"/"+name)
	if err != nil {
		return nil // the index is there: records are made with sliceIndexers
	}
	byAddress := map[netip.Addr]*endpoint{}
	for _, object := range found {
		slice := object.(*discoveryv1.EndpointSlice)
		ports := slicePorts(slice)
		for i := range slice.Endpoints {
			source := &slice.Endpoints[i]
			if ready := source.Conditions.Ready; len(source.Addresses) == 0 || ready != nil && !*ready {
				continue
			}
			address, err := netip.ParseAddr(source.Addresses[0])
			if err != nil {
				continue
			}
			target := byAddress[address]
			if target == nil {
				target = &endpoint{name: endpointName(source, address), address: address}
				byAddress[address] = target
			}
			for _, port := range ports {
				if !slices.Contains(target.ports, port) {
					target.ports = append(target.ports, port)
				}
			}
		}
	}
	all := make([]endpoint, 0, len(byAddress))
	for _, e := range byAddress {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b endpoint) int { return a.address.Compare(b.address) })
	return all
}

func slicePorts(slice *discoveryv1.EndpointSlice) []port {
	var ports []port
	for _, source := range slice.Ports {
		if source.Port == nil || *source.Port < 1 || *source.Port > 65535 { // the API server does not look
			continue
		}
		p := port{protocol: "tcp", number: uint16(*source.Port)}
		if source.Name != nil {
			p.name = *source.Name
		}
		if source.Protocol != nil {
			p.protocol = protocolName(*source.Protocol)
		}
		ports = append(ports, p)
	}
	return ports
}

// endpointName is the hostname, or the address with dashes: 10-244-0-2.
func endpointName(source *discoveryv1.Endpoint, address netip.Addr) string {
	if source.Hostname != nil && *source.Hostname != "" {
		return strings.ToLower(*source.Hostname)
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(address.String())
}

// namesOf are the names that an address leads back to, relative to the zone: those of Services, else of endpoints.
func (r records) namesOf(address netip.Addr) []string {
	var names []string
	services, err := r.services.ByIndex(byAddress, address.String())
	if err != nil {
		return nil // the index is there
	}
	for _, object := range services {
		service := object.(*corev1.Service)
		names = append(names, service.Name+"."+service.Namespace+".svc.")
	}
	if len(names) == 0 {
		names = r.endpointNamesOf(address)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r records) endpointNamesOf(address netip.Addr) []string {
	found, err := r.slices.ByIndex(byAddress, address.String())
	if err != nil {
		return nil // the index is there
	}
	var names []string
	for _, object := range found {
		slice := object.(*discoveryv1.EndpointSlice)
		service := slice.Labels[discoveryv1.LabelServiceName]
		for i := range slice.Endpoints {
			source := &slice.Endpoints[i]
			ready := source.Conditions.Ready == nil || *source.Conditions.Ready
			if service != "" && ready && slices.Contains(source.Addresses, address.String()) {
				names = append(names, endpointName(source, address)+"."+service+"."+slice.Namespace+".svc.")
			}
		}
	}
	return names
}

func protocolName(protocol corev1.Protocol) string {
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	return strings.ToLower(string(protocol))
}

// strip drops what no answer needs, so that it is not kept in memory.
func strip(object any) (any, error) {
	switch object := object.(type) {
	case *corev1.Service:
		object.ManagedFields, object.Annotations, object.OwnerReferences, object.Labels = nil, nil, nil, nil
		object.Spec.Selector, object.Status = nil, corev1.ServiceStatus{}
		object.Spec.LoadBalancerSourceRanges, object.Spec.SessionAffinityConfig = nil, nil
	case *discoveryv1.EndpointSlice:
		object.ManagedFields, object.Annotations, object.OwnerReferences = nil, nil, nil
		object.Labels = map[string]string{discoveryv1.LabelServiceName: object.Labels[discoveryv1.LabelServiceName]}
		for i := range object.Endpoints {
			endpoint := &object.Endpoints[i]
			endpoint.TargetRef, endpoint.Zone, endpoint.NodeName, endpoint.DeprecatedTopology = nil, nil, nil, nil
			endpoint.Hints = nil
		}
	}
	return object, nil
}
