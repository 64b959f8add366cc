package iptables

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/kubelite/kubelite/proxy/plan"
)

const (
	tableFilter = "filter"
	tableMangle = "mangle"
	tableNAT    = "nat"
)

// chain is one chain of one table.
type chain struct{ table, name string }

func (c chain) String() string { return "chain " + c.name + " of table " + c.table }

// The chains that all Services share: each Service has rules of its own in them. Their names are kube-proxy's.
var (
	filterServices         = chain{tableFilter, "KUBE-SERVICES"}
	filterExternalServices = chain{tableFilter, "KUBE-EXTERNAL-SERVICES"}
	filterNodePorts        = chain{tableFilter, "KUBE-NODEPORTS"}
	filterProxyFirewall    = chain{tableFilter, "KUBE-PROXY-FIREWALL"}
	natServices            = chain{tableNAT, "KUBE-SERVICES"}
	natNodePorts           = chain{tableNAT, "KUBE-NODEPORTS"}
)

// sharedChains is in the order in which the chains are written: KUBE-SERVICES leads to KUBE-NODEPORTS.
var sharedChains = []chain{
	filterServices, filterExternalServices, filterNodePorts, filterProxyFirewall,
	natNodePorts, natServices,
}

// The chains whose rules do not depend on any Service.
var (
	filterForward  = chain{tableFilter, "KUBE-FORWARD"}
	filterFirewall = chain{tableFilter, "KUBE-FIREWALL"}
	natPostrouting = chain{tableNAT, "KUBE-POSTROUTING"}
	natMarkMasq    = chain{tableNAT, "KUBE-MARK-MASQ"}
)

// canaryName is a chain without rules or references: it is gone only when someone flushed the table.
const canaryName = "KUBE-PROXY-CANARY"

// servicePrefixes begin the names of chains that belong to one Service port. Whatever else is named so is stale.
var servicePrefixes = []string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-"}

func isServiceChain(c chain) bool {
	if c.table != tableNAT {
		return false
	}
	for _, prefix := range servicePrefixes {
		if strings.HasPrefix(c.name, prefix) {
			return true
		}
	}
	return false
}

// hash is the 16 letters by which kube-proxy tells chains apart: a chain's name has at most 28 characters.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base32.StdEncoding.EncodeToString(sum[:])[:16]
}

// portChains are the names of one Service port's chains.
type portChains struct {
	cluster  string // KUBE-SVC-…: spreads over all endpoints
	local    string // KUBE-SVL-…: spreads over the endpoints on this node
	external string // KUBE-EXT-…: where traffic to node ports, load-balancer and external addresses goes first
	firewall string // KUBE-FW-…: admits the clients in loadBalancerSourceRanges
}

func chainsOf(port *plan.Port) portChains {
	suffix := hash(port.Name.String() + protocol(port))
	return portChains{
		cluster:  "KUBE-SVC-" + suffix,
		local:    "KUBE-SVL-" + suffix,
		external: "KUBE-EXT-" + suffix,
		firewall: "KUBE-FW-" + suffix,
	}
}

// endpointChain is the name of the chain that sends connections of port to endpoint.
func endpointChain(port *plan.Port, endpoint plan.Endpoint) string {
	return "KUBE-SEP-" + hash(port.Name.String()+protocol(port)+endpoint.String())
}

func protocol(port *plan.Port) string { return strings.ToLower(string(port.Protocol)) }
