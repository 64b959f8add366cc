package ipvs

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
)

// virtualServer is a virtual server as one Service wants it.
type virtualServer struct {
	settings
	// endpoints are its destinations. It refuses clients where there are none.
	endpoints []plan.Endpoint
	// draining are further endpoints that keep the connections which they have.
	draining []plan.Endpoint
}

// wants is what one Service wants of the kernel.
type wants struct {
	servers   map[server]virtualServer
	addresses map[netip.Addr]bool
	entries   map[entry]bool
}

// facts are what wants depend on besides the Service.
type facts struct {
	options   backend.Options
	scheduler string
	node      node
}

// wantsOf is what a Service with these ports wants; empty without ports. Where two ports want the same virtual server, the
// first has it.
func wantsOf(ports []plan.Port, f facts) wants {
	w := wants{map[server]virtualServer{}, map[netip.Addr]bool{}, map[entry]bool{}}
	for i := range ports {
		port := portWants{&w, f, &ports[i]}
		port.clusterIP()
		port.externalIPs()
		port.loadBalancerIPs()
		port.nodePort()
		port.hairpin()
	}
	return w
}

// portWants adds what one port wants.
type portWants struct {
	*wants
	facts
	port *plan.Port
}

func (w portWants) enter(e entry) {
	if e.set.kind != hashIP && e.set.kind != bitmapPort {
		e.protocol = w.port.Protocol
	}
	w.entries[e] = true
}

// enterService enters address and Port into each set.
func (w portWants) enterService(address netip.Addr, sets ...*set) {
	for _, s := range sets {
		w.enter(entry{set: s, address: address, port: w.port.Port})
	}
}

func (w portWants) serve(address netip.Addr, port uint16, endpoints []plan.Endpoint) {
	key := server{w.port.Protocol, netip.AddrPortFrom(address, port)}
	if _, taken := w.servers[key]; taken {
		return
	}
	refused := func(endpoint plan.Endpoint) bool { return w.node.refuses(endpoint.Addr()) }
	if slices.ContainsFunc(endpoints, refused) {
		endpoints = slices.DeleteFunc(slices.Clone(endpoints), refused)
	}
	w.servers[key] = virtualServer{
		settings:  settings{w.scheduler, uint32(w.port.AffinitySeconds)},
		endpoints: endpoints,
		draining:  w.port.Draining,
	}
}

// bind puts the address on kube-ipvs0, unless the node has it anyway, or another machine does, or a link cannot.
func (w portWants) bind(address netip.Addr) {
	_, own := slices.BinarySearchFunc(w.node.addresses, address, netip.Addr.Compare)
	_, foreign := slices.BinarySearchFunc(w.node.gateways, address, netip.Addr.Compare)
	if own || foreign || address.IsMulticast() {
		return
	}
	w.addresses[address] = true
	w.entries[entry{set: ipvsIPs, address: address}] = true
}

// hairpin enters the endpoints on this node, which may call themselves.
func (w portWants) hairpin() {
	for _, endpoint := range w.port.Reachable() {
		if slices.Contains(w.port.Hairpin, endpoint.Addr()) {
			w.enter(entry{set: loopBack, address: endpoint.Addr(), port: endpoint.Port(), source: host(endpoint.Addr())})
		}
	}
}

func (w portWants) clusterIP() {
	endpoints := w.port.InternalEndpoints()
	w.bind(w.port.ClusterIP)
	w.serve(w.port.ClusterIP, w.port.Port, endpoints)
	w.enterService(w.port.ClusterIP, clusterIP)
	if len(endpoints) == 0 && w.port.HasEndpoints {
		w.enterService(w.port.ClusterIP, clusterNoLocal)
	}
}

// serveExternal serves at an address for clients outside the cluster. Where only local endpoints may serve these and there
// are none, they are dropped, while Pods and the node itself still reach all endpoints.
func (w portWants) serveExternal(address netip.Addr, port uint16) {
	endpoints := w.port.ExternalEndpoints()
	if len(endpoints) == 0 && w.port.HasEndpoints {
		endpoints = w.port.Cluster
		w.enter(entry{set: outsideNoLocal, address: address, port: port})
	}
	w.serve(address, port, endpoints)
}

func (w portWants) externalIPs() {
	for _, address := range w.port.ExternalIPs {
		w.bind(address)
		w.serveExternal(address, w.port.Port)
		if w.port.ExternalLocal {
			w.enterService(address, externalLocal)
		} else {
			w.enterService(address, externalIP)
		}
	}
}

func (w portWants) loadBalancerIPs() {
	for _, address := range w.port.LoadBalancerIPs {
		w.bind(address)
		w.serveExternal(address, w.port.Port)
		w.enterService(address, loadBalancer)
		if w.port.ExternalLocal {
			w.enterService(address, balancerLocal)
		}
		if len(w.port.SourceRanges) > 0 && w.port.HasEndpoints {
			w.firewall(address)
		}
	}
}

// firewall admits the load balancer's source ranges only. The node itself uses the address that it calls as its source.
func (w portWants) firewall(address netip.Addr) {
	w.enterService(address, balancerFW)
	for _, prefix := range w.port.SourceRanges {
		w.enter(entry{set: balancerCIDR, address: address, port: w.port.Port, source: prefix})
		if slices.ContainsFunc(w.options.NodeIPs, prefix.Contains) {
			w.enter(entry{set: balancerIP, address: address, port: w.port.Port, source: host(address)})
		}
	}
}

func (w portWants) nodePort() {
	if w.port.HealthCheckNodePort != 0 {
		w.enter(entry{set: healthCheck, port: w.port.HealthCheckNodePort})
	}
	if w.port.NodePort == 0 {
		return
	}
	for _, address := range w.nodePortAddresses() {
		w.serveExternal(address, w.port.NodePort)
		w.enterNodePort(nodePorts, address)
		if w.port.ExternalLocal {
			w.enterNodePort(nodePortsLocal, address)
		}
	}
}

func (w portWants) enterNodePort(sets map[corev1.Protocol]*set, address netip.Addr) {
	e := entry{set: sets[w.port.Protocol], port: w.port.NodePort}
	if e.set.kind == hashIPPort {
		e.address = address
	}
	w.enter(e)
}

func (f facts) nodePortAddresses() []netip.Addr {
	if len(f.options.NodePortAddresses) == 0 {
		return f.node.addresses
	}
	var served []netip.Addr
	for _, address := range f.node.addresses {
		contains := func(prefix netip.Prefix) bool { return prefix.Contains(address) }
		if slices.ContainsFunc(f.options.NodePortAddresses, contains) {
			served = append(served, address)
		}
	}
	return served
}

// host is the prefix that holds only the address.
func host(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, address.BitLen()) }
