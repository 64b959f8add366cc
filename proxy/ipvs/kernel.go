package ipvs

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// server names a virtual server: where clients connect to.
type server struct {
	protocol corev1.Protocol
	address  netip.AddrPort
}

func (s server) String() string { return string(s.protocol) + " " + s.address.String() }

// settings are what a virtual server has besides its destinations.
type settings struct {
	scheduler string
	// persistent is for how many seconds a client keeps its destination; 0 for no session affinity.
	persistent uint32
}

// destination is what the kernel says of one destination of a virtual server.
type destination struct {
	weight int
	// connections are those that the kernel still knows, also closed ones that have not timed out.
	connections int
}

// node is what a node's links and routes say.
type node struct {
	// addresses are the node's own, on other links than kube-ipvs0, without loopback and link-local ones; sorted.
	addresses []netip.Addr
	// gateways are the next hops of the node's routes: other machines; sorted.
	gateways []netip.Addr
	// broadcasts are the broadcast addresses of the node's networks, sorted; read by Replace only.
	broadcasts []netip.Addr
}

var everyone = netip.MustParseAddr("255.255.255.255")

// refuses says whether IPVS would not take the address as a destination: one that many hosts have. An endpoint that somebody wrote
// by hand may have one.
func (n node) refuses(address netip.Addr) bool {
	_, broadcast := slices.BinarySearchFunc(n.broadcasts, address, netip.Addr.Compare)
	return broadcast || address.IsMulticast() || address == everyone
}

// kernel is everything that a Backend reads and writes, for one address family and one network namespace. An error of one
// method says which object it is about. Deleting what is not there, and adding what is there, are errors.
type kernel interface {
	// servers are all virtual servers of the family, and destinations those of one.
	servers() (map[server]settings, error)
	destinations(server) (map[netip.AddrPort]destination, error)
	addServer(server, settings) error
	changeServer(server, settings) error
	deleteServer(server) error
	addDestination(server, netip.AddrPort) error
	setWeight(server, netip.AddrPort, int) error
	deleteDestination(server, netip.AddrPort) error

	// makeLink makes kube-ipvs0 where it is not there.
	makeLink() error
	// addresses reads what kube-ipvs0 holds, and node what else the node has.
	addresses() (map[netip.Addr]bool, node, error)
	// broadcasts are node.broadcasts.
	broadcasts() ([]netip.Addr, error)
	addAddress(netip.Addr) error
	deleteAddress(netip.Addr) error

	// makeSets makes those of allSets that are not there.
	makeSets() error
	entries(*set) (map[entry]bool, error)
	addEntry(entry) error
	deleteEntry(entry) error

	// rules reads the chains of ruleText and the jumps to them, as text; writeRules makes them ruleText.
	rules(context.Context) (string, error)
	writeRules(context.Context) error
	// rulesGeneration changes whenever any rule does; false where the kernel cannot tell.
	rulesGeneration() (uint32, bool)
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }
