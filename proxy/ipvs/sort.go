package ipvs

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// What is written to the kernel is written in a fixed order, so that the same change is always the same sequence of messages.

func sortedServers(all iter.Seq[server]) []server { return slices.SortedFunc(all, compareServers) }

func sortedEntries(all iter.Seq[entry]) []entry { return slices.SortedFunc(all, compareEntries) }

func sortedAddresses(all iter.Seq[netip.Addr]) []netip.Addr {
	return slices.SortedFunc(all, netip.Addr.Compare)
}

func sortedDestinations(all map[netip.AddrPort]destination) []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(all), netip.AddrPort.Compare)
}
