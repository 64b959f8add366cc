package nftables

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// chain is one that a verdict map leads to. Which there are depends on how many endpoints Services have, not on how many Services
// there are: all with five endpoints share theirs.
type chain struct {
	kind chainKind
	// count is the number of endpoints to choose from; of remember, the seconds for which a client keeps its endpoint.
	count int32
	// sticky says that a client that is remembered is sent where it was before.
	sticky bool
}

type chainKind uint8

const (
	_ chainKind = iota // an element without a verdict
	// drop is the verdict of this name, and no chain.
	drop
	// refuse answers that there is nothing.
	refuse
	// The others send a connection to an endpoint; see layout.rulesOf.
	toClusterIP
	toExternal
	toExternalLocal
	fromInside
	toNodePort
	toNodePortLocal
	fromInsideToNodePort
	// remember notes where a client was sent.
	remember
)

var chainNames = map[chainKind]string{
	refuse:               "refuse",
	toClusterIP:          "cluster-ip",
	toExternal:           "external",
	toExternalLocal:      "external-local",
	fromInside:           "inside",
	toNodePort:           "node-port",
	toNodePortLocal:      "node-port-local",
	fromInsideToNodePort: "inside-node-port",
	remember:             "remember",
}

// name is like "cluster-ip-5", or "cluster-ip-5-sticky" with session affinity; "remember-10800s".
func (c chain) name() string {
	switch {
	case c.kind == drop:
		return "drop"
	case c.kind == refuse:
		return chainNames[refuse]
	case c.kind == remember:
		return fmt.Sprintf("%s-%ds", chainNames[remember], c.count)
	case c.sticky:
		return fmt.Sprintf("%s-%d-sticky", chainNames[c.kind], c.count)
	}
	return fmt.Sprintf("%s-%d", chainNames[c.kind], c.count)
}

// madeOnDemand says whether the chain is there only while an element leads to it.
func (c chain) madeOnDemand() bool { return c.kind > refuse }

// verdict is the data of an element that leads to the chain.
func (c chain) verdict() attribute {
	if c.kind == drop {
		return verdict(verdictDrop, "")
	}
	return verdict(verdictGoto, c.name())
}

// chainNamed is the chain on demand with that name; false if it is not the name of one.
func chainNamed(name string) (chain, bool) {
	for kind, prefix := range chainNames {
		c := chain{kind: kind, sticky: strings.HasSuffix(name, "-sticky")}
		if _, err := fmt.Sscanf(name, prefix+"-%d", &c.count); err == nil && c.madeOnDemand() && c.name() == name {
			return c, true
		}
	}
	return chain{}, false
}

// rulesOf are the rules of a chain that is made on demand:
//
//	cluster-ip-5        ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x00004000
//	external-5          meta mark set meta mark | 0x00004000
//	external-local-2    jump from-inside
//	inside-5
//
// and then, in each, the choice of an endpoint. Other than these:
//
//	remember-10800s     update @affinity { ct original ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst timeout 3h : ip daddr . th dport }
//
// It prolongs what is there, and does not change where that leads.
func (l layout) rulesOf(c chain) []rule {
	var rules []rule
	switch c.kind {
	case toClusterIP:
		rules = l.markFromOutside()
	case toExternal, toNodePort:
		rules = []rule{l.mark()}
	case toExternalLocal:
		rules = []rule{{immediateVerdict(verdictJump, chainFromInside)}}
	case toNodePortLocal:
		rules = []rule{{immediateVerdict(verdictJump, chainFromInsideToNodePorts)}}
	}
	switch c.kind {
	case toClusterIP, toExternal, toExternalLocal:
		return append(rules, l.choose(c, endpoints, l.destinationKey())...)
	case fromInside:
		return append(rules, l.choose(c, insideEndpoints, l.destinationKey())...)
	case toNodePort, toNodePortLocal:
		return append(rules, l.choose(c, nodePortEndpoints, nodePortKey())...)
	case fromInsideToNodePort:
		return append(rules, l.choose(c, insideNodePortEndpoints, nodePortKey())...)
	case remember:
		client := l.originalClientKey()
		port := client.end + l.family.words()
		return []rule{append(client.load, l.family.destination(client.end), payload(port, baseTransport, 2, 2),
			updateMap(affinity, client.end, uint64(c.count)*1000))}
	}
	return rules
}

// choose sends a connection to a random endpoint:
//
//	dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 5 map @endpoints
//
// With session affinity a client that is remembered goes where it was:
//
//	dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity
func (l layout) choose(c chain, from set, key keyLoad) []rule {
	if c.count == 0 {
		return nil
	}
	random := append(append(rule{}, key.load...), randomNumber(key.end, uint32(c.count)), lookupData(from, 0), l.family.destinationNAT(0))
	if !c.sticky {
		return []rule{random}
	}
	return []rule{append(l.clientKey().load, lookupData(affinity, 0), l.family.destinationNAT(0)), random}
}

// keyLoad loads a key into the registers from 0 to before end.
type keyLoad struct {
	load rule
	end  register
}

// destinationKey is ip daddr . meta l4proto . th dport.
func (l layout) destinationKey() keyLoad {
	words := l.family.words()
	return keyLoad{append(rule{l.family.destination(0)}, portAt(words)...), words + 2}
}

// nodePortKey is meta l4proto . th dport.
func nodePortKey() keyLoad { return keyLoad{portAt(0), 2} }

// clientKey is ip saddr . ip daddr . meta l4proto . th dport.
func (l layout) clientKey() keyLoad {
	words := l.family.words()
	load := append(rule{l.family.source(0), l.family.destination(words)}, portAt(2*words)...)
	return keyLoad{load, 2*words + 2}
}

// originalClientKey is the same of a connection whose destination was translated.
func (l layout) originalClientKey() keyLoad {
	words := l.family.words()
	load := append(rule{l.family.originalSource(0), l.family.originalDestination(words)}, originalPortAt(2*words)...)
	return keyLoad{load, 2*words + 2}
}

// originalDestinationKey is ct original ip daddr . meta l4proto . ct original proto-dst.
func (l layout) originalDestinationKey() keyLoad {
	words := l.family.words()
	return keyLoad{append(rule{l.family.originalDestination(0)}, originalPortAt(words)...), words + 2}
}

func originalPortAt(to register) rule {
	return rule{metaLoad(to, unix.NFT_META_L4PROTO), original(to+1, unix.NFT_CT_PROTO_DST)}
}

func portAt(to register) rule {
	return rule{metaLoad(to, unix.NFT_META_L4PROTO), payload(to+1, baseTransport, 2, 2)}
}
