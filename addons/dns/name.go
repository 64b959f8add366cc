package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
)

// entry is what exists under one name of the zone. One with nothing in it exists because names below it do.
type entry struct {
	addresses []netip.Addr
	services  []serviceLocation
	text      string
	alias     string // of an ExternalName Service; excludes all else
	apex      bool   // the zone itself, with SOA and NS
	nameOf    string // the name server's own name, for NS
	server    []netip.Addr
}

// serviceLocation is one SRV record.
type serviceLocation struct {
	target    string
	port      uint16
	addresses []netip.Addr
}

// lookUp finds what exists under a name, which is lower case and in the zone; nil if nothing does.
func (z *zone) lookUp(name string, r records) *entry {
	labels := dns.SplitDomainName(strings.TrimSuffix(name, z.domain))
	if len(labels) == 0 {
		return &entry{apex: true, nameOf: "ns.dns." + z.domain, server: z.serverAddresses(r)}
	}
	below := labels[:len(labels)-1]
	switch labels[len(labels)-1] {
	case "svc":
		return z.lookUpService(below, r)
	case "pod":
		return lookUpPod(below)
	case "dns-version":
		if len(below) == 0 {
			return &entry{text: specification}
		}
	case "dns":
		if len(below) == 0 {
			return &entry{}
		}
		if len(below) == 1 && below[0] == "ns" {
			return &entry{addresses: z.serverAddresses(r)}
		}
	}
	return nil
}

// serverAddresses is where the name server itself is reached: the kube-dns Service, if there is one.
func (z *zone) serverAddresses(r records) []netip.Addr {
	if service, ok := r.service(Namespace, ServiceName); ok {
		return clusterIPs(service)
	}
	return nil
}

// lookUpPod finds ADDRESS.NAMESPACE.pod. The address is taken at its word.
func lookUpPod(labels []string) *entry {
	if len(labels) < 2 { // pod, and NAMESPACE.pod, which any name is
		return &entry{}
	}
	if len(labels) > 2 {
		return nil
	}
	address, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", "."))
	if err != nil {
		address, err = netip.ParseAddr(strings.ReplaceAll(labels[0], "-", ":"))
	}
	if err != nil {
		return nil
	}
	return &entry{addresses: []netip.Addr{address}}
}

// lookUpService finds [[_PORT.]_PROTOCOL.|ENDPOINT.]SERVICE.NAMESPACE.svc; labels are those before svc.
func (z *zone) lookUpService(labels []string, r records) *entry {
	switch len(labels) {
	case 0:
		return &entry{}
	case 1:
		if r.hasNamespace(labels[0]) {
			return &entry{}
		}
		return nil
	}
	namespace, name := labels[len(labels)-1], labels[len(labels)-2]
	service, exists := r.service(namespace, name)
	if !exists {
		return nil
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		if len(labels) > 2 {
			return nil
		}
		return &entry{alias: dns.Fqdn(service.Spec.ExternalName)}
	}
	base := name + "." + namespace + ".svc." + z.domain
	below := labels[:len(labels)-2]
	switch {
	case len(below) == 0:
		return wholeService(base, service, r)
	case len(below) == 1 && !strings.HasPrefix(below[0], "_"):
		return oneEndpoint(base, below[0], r.endpoints(namespace, name))
	}
	return servicePort(base, below, service, r)
}

func clusterIPs(service *corev1.Service) []netip.Addr {
	texts := service.Spec.ClusterIPs
	if len(texts) == 0 {
		texts = []string{service.Spec.ClusterIP}
	}
	var addresses []netip.Addr
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil { // None is not one
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// wholeService is what the Service's own name holds. A headless one without ready endpoints exists, and is empty.
func wholeService(base string, service *corev1.Service, r records) *entry {
	found := &entry{addresses: clusterIPs(service)}
	if len(found.addresses) > 0 {
		for _, p := range servicePorts(service) {
			found.services = append(found.services, serviceLocation{base, p.number, found.addresses})
		}
		return found
	}
	for _, e := range r.endpoints(service.Namespace, service.Name) {
		found.addresses = append(found.addresses, e.address)
		found.services = append(found.services, e.locations(base)...)
	}
	return found
}

func (e *endpoint) locations(base string) []serviceLocation {
	var all []serviceLocation
	for _, p := range e.ports {
		all = append(all, serviceLocation{e.name + "." + base, p.number, []netip.Addr{e.address}})
	}
	return all
}

// oneEndpoint finds the endpoints of that name: a hostname may have several addresses.
func oneEndpoint(base, name string, endpoints []endpoint) *entry {
	var found *entry
	for _, e := range endpoints {
		if e.name != name {
			continue
		}
		if found == nil {
			found = &entry{}
		}
		found.addresses = append(found.addresses, e.address)
		found.services = append(found.services, e.locations(base)...)
	}
	return found
}

// servicePort finds _PROTOCOL, which is empty, and _PORT._PROTOCOL.
func servicePort(base string, labels []string, service *corev1.Service, r records) *entry {
	if len(labels) > 2 || !strings.HasPrefix(labels[len(labels)-1], "_") {
		return nil
	}
	protocol := labels[len(labels)-1][1:]
	name, whole := "", len(labels) == 1
	if !whole {
		if !strings.HasPrefix(labels[0], "_") {
			return nil
		}
		name = labels[0][1:]
	}
	matches := func(p port) bool {
		return p.protocol == protocol && p.name != "" && (whole || strings.EqualFold(p.name, name))
	}
	var found *entry
	add := func(location serviceLocation) {
		if found == nil {
			found = &entry{}
		}
		if !whole {
			found.services = append(found.services, location)
		}
	}
	if addresses := clusterIPs(service); len(addresses) > 0 {
		for _, p := range servicePorts(service) {
			if matches(p) {
				add(serviceLocation{base, p.number, addresses})
			}
		}
		return found
	}
	for _, e := range r.endpoints(service.Namespace, service.Name) {
		for _, p := range e.ports {
			if matches(p) {
				add(serviceLocation{e.name + "." + base, p.number, []netip.Addr{e.address}})
			}
		}
	}
	return found
}

// rrs are the entry's records of one type, and what goes with them into the additional section.
func (e *entry) rrs(z *zone, owner string, rrtype uint16) (records, extra []dns.RR) {
	switch rrtype {
	case dns.TypeA, dns.TypeAAAA:
		for _, address := range e.addresses {
			if address.Is4() == (rrtype == dns.TypeA) {
				records = append(records, z.a(owner, address))
			}
		}
	case dns.TypeSRV:
		return e.srv(z, owner)
	case dns.TypeTXT:
		if e.text != "" {
			records = append(records, &dns.TXT{Hdr: z.header(owner, dns.TypeTXT), Txt: []string{e.text}})
		}
	case dns.TypeSOA:
		if e.apex {
			records = append(records, z.soa(owner))
		}
	case dns.TypeNS:
		if e.apex {
			records = append(records, &dns.NS{Hdr: z.header(owner, dns.TypeNS), Ns: e.nameOf})
			for _, address := range e.server {
				extra = append(extra, z.a(e.nameOf, address))
			}
		}
	}
	return records, extra
}

// srv shares a weight of 100 evenly, as CoreDNS does. Each target's addresses are given once.
func (e *entry) srv(z *zone, owner string) (records, extra []dns.RR) {
	given := map[string]bool{}
	for _, location := range e.services {
		records = append(records, &dns.SRV{
			Hdr: z.header(owner, dns.TypeSRV), Priority: 0, Weight: uint16(max(1, 100/len(e.services))),
			Port: location.port, Target: location.target,
		})
		for _, address := range location.addresses {
			if key := location.target + address.String(); !given[key] {
				given[key] = true
				extra = append(extra, z.a(location.target, address))
			}
		}
	}
	return records, extra
}
