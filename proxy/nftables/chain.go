package nftables

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// chain is one that a verdict map leads to. Which there are depends on how many endpoints Services have, not on how many Services
// there are: all with five endpoints share theirs.
type chain struct {
	kind chainKind
	// count is the number of endpoints to choose from.
	count int32
	// affinity is how many seconds a client keeps its endpoint; 0 for not at all.
	affinity int32
}

type chainKind uint8

const (
	// noChain is an element without a verdict.
	noChain chainKind = iota
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
}

// name is like "cluster-ip-5", or "cluster-ip-5-sticky-10800s" with session affinity.
func (c chain) name() string {
	switch {
	case c.kind == drop:
		return "drop"
	case c.kind == refuse:
		return chainNames[refuse]
	case c.affinity != 0:
		return fmt.Sprintf("%s-%d-sticky-%ds", chainNames[c.kind], c.count, c.affinity)
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
		c := chain{kind: kind}
		if _, err := fmt.Sscanf(name, prefix+"-%d-sticky-%ds", &c.count, &c.affinity); err != nil {
			c.affinity = 0
			if _, err := fmt.Sscanf(name, prefix+"-%d", &c.count); err != nil {
				continue
			}
		}
		if c.madeOnDemand() && c.name() == name {
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
// and then, in each, the choice of an endpoint.
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
	}
	return rules
}

// choose sends a connection to a random endpoint:
//
//	dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 5 map @endpoints
//
// With session affinity the endpoint is first noted; where the client is known that only prolongs its note:
//
//	update @affinity { ip saddr . ip daddr . meta l4proto . th dport timeout 3h : ip daddr . meta l4proto . th dport . numgen random mod 5 map @endpoints }
//	dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity
//
// and only where no more notes can be taken the random choice follows.
func (l layout) choose(c chain, from set, key keyLoad) []rule {
	if c.count == 0 {
		return nil
	}
	pick := func(to register) rule {
		return append(append(rule{}, key.load...), randomNumber(key.end, uint32(c.count)), lookupData(from, to))
	}
	direct := append(pick(0), l.family.destinationNAT(0))
	if c.affinity == 0 {
		return []rule{direct}
	}
	client := l.clientKey()
	note := append(append(pick(client.end), client.load...), updateMap(affinity, client.end, uint64(c.affinity)*1000))
	noted := append(append(rule{}, client.load...), lookupData(affinity, 0), l.family.destinationNAT(0))
	return []rule{note, noted, direct}
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

func portAt(to register) rule {
	return rule{metaLoad(to, unix.NFT_META_L4PROTO), payload(to+1, baseTransport, 2, 2)}
}
