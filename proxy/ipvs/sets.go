package ipvs

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// setKind is an ipset's type.
type setKind string

const (
	hashIP        setKind = "hash:ip"
	hashIPPort    setKind = "hash:ip,port"
	hashIPPortIP  setKind = "hash:ip,port,ip"
	hashIPPortNet setKind = "hash:ip,port,net"
	bitmapPort    setKind = "bitmap:port"
)

// set is one ipset. The names and comments are kube-proxy's; a comment is what the rule that uses the set says.
type set struct {
	name    string
	kind    setKind
	comment string
}

var (
	loopBack       = &set{"KUBE-LOOP-BACK", hashIPPortIP, "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"}
	clusterIP      = &set{"KUBE-CLUSTER-IP", hashIPPort, "Kubernetes service cluster ip + port for masquerade purpose"}
	externalIP     = &set{"KUBE-EXTERNAL-IP", hashIPPort, "Kubernetes service external ip + port for masquerade and filter purpose"}
	externalLocal  = &set{"KUBE-EXTERNAL-IP-LOCAL", hashIPPort, "Kubernetes service external ip + port with externalTrafficPolicy=local"}
	loadBalancer   = &set{"KUBE-LOAD-BALANCER", hashIPPort, "Kubernetes service lb portal"}
	balancerLocal  = &set{"KUBE-LOAD-BALANCER-LOCAL", hashIPPort, "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"}
	balancerFW     = &set{"KUBE-LOAD-BALANCER-FW", hashIPPort, "Kubernetes service load balancer ip + port for load balancer with sourceRange"}
	balancerIP     = &set{"KUBE-LOAD-BALANCER-SOURCE-IP", hashIPPortIP, "Kubernetes service load balancer ip + port + source IP for packet filter purpose"}
	balancerCIDR   = &set{"KUBE-LOAD-BALANCER-SOURCE-CIDR", hashIPPortNet, "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"}
	healthCheck    = &set{"KUBE-HEALTH-CHECK-NODE-PORT", bitmapPort, "Kubernetes health check node port"}
	ipvsIPs        = &set{"KUBE-IPVS-IPS", hashIP, "Virtual IPs for ipvs"}
	clusterNoLocal = &set{"KUBE-CLUSTER-IP-NO-LOCAL", hashIPPort, "Kubernetes service cluster ip + port without local endpoints"}
	outsideNoLocal = &set{"KUBE-EXTERNAL-NO-LOCAL", hashIPPort, "Kubernetes service external ip + port without local endpoints"}
)

// nodePorts and nodePortsLocal are the sets of node ports by protocol. SCTP has a hash, because a bitmap:port knows TCP and UDP only.
var (
	nodePorts = map[corev1.Protocol]*set{
		corev1.ProtocolTCP:  {"KUBE-NODE-PORT-TCP", bitmapPort, "Kubernetes nodeport TCP port for masquerade purpose"},
		corev1.ProtocolUDP:  {"KUBE-NODE-PORT-UDP", bitmapPort, "Kubernetes nodeport UDP port for masquerade purpose"},
		corev1.ProtocolSCTP: {"KUBE-NODE-PORT-SCTP-HASH", hashIPPort, "Kubernetes nodeport SCTP port for masquerade purpose with type hash ip:port"},
	}
	nodePortsLocal = map[corev1.Protocol]*set{
		corev1.ProtocolTCP:  {"KUBE-NODE-PORT-LOCAL-TCP", bitmapPort, "Kubernetes nodeport TCP port with externalTrafficPolicy=local"},
		corev1.ProtocolUDP:  {"KUBE-NODE-PORT-LOCAL-UDP", bitmapPort, "Kubernetes nodeport UDP port with externalTrafficPolicy=local"},
		corev1.ProtocolSCTP: {"KUBE-NODE-PORT-LOCAL-SCTP-HASH", hashIPPort, "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type hash ip:port"},
	}
	protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
)

// allSets is in the order in which sets are filled: what refuses comes before what admits.
var allSets = []*set{
	balancerCIDR, balancerIP, balancerFW, clusterNoLocal, outsideNoLocal, loopBack,
	clusterIP, externalIP, externalLocal, balancerLocal, loadBalancer,
	nodePortsLocal[corev1.ProtocolTCP], nodePortsLocal[corev1.ProtocolUDP], nodePortsLocal[corev1.ProtocolSCTP],
	nodePorts[corev1.ProtocolTCP], nodePorts[corev1.ProtocolUDP], nodePorts[corev1.ProtocolSCTP],
	healthCheck, ipvsIPs,
}

// nameFor is the set's name in the kernel, where both families' sets live side by side: KUBE-6-CLUSTER-IP for IPv6. A name
// has at most 31 characters.
func (s *set) nameFor(family corev1.IPFamily) string {
	if family != corev1.IPv6Protocol {
		return s.name
	}
	name := strings.Replace(s.name, "KUBE-", "KUBE-6-", 1)
	return name[:min(len(name), 31)]
}

// entry is one element of a set. Which fields count depends on the set's kind; the others are zero.
type entry struct {
	set      *set
	protocol corev1.Protocol
	address  netip.Addr
	port     uint16
	// source is the third part of hashIPPortIP (one address) and hashIPPortNet.
	source netip.Prefix
}

// String is the entry as `ipset list` prints it, with the set's IPv4 name before it.
func (e entry) String() string {
	text := e.address.String() + "," + strings.ToLower(string(e.protocol)) + ":" + itoa(e.port)
	switch e.set.kind {
	case hashIP:
		text = e.address.String()
	case bitmapPort:
		text = itoa(e.port)
	case hashIPPortIP:
		text += "," + e.source.Addr().String()
	case hashIPPortNet:
		text += "," + e.source.String()
	}
	return e.set.name + " " + text
}
