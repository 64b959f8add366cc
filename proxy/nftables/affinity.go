package nftables

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
)

// outdates says whether forget may find something when the elements of some destinations have become others: a destination with affinity
// lost an endpoint, or remembers clients for another time, or not at all.
func (l layout) outdates(before, after map[key]value) bool {
	var sticky map[destination]bool
	for k, v := range before {
		if k.set != stickyServices && k.set != stickyNodePorts {
			continue
		}
		if after[k] != v {
			return true
		}
		if sticky == nil {
			sticky = map[destination]bool{}
		}
		sticky[l.destinationOf(k)] = true
	}
	if sticky == nil {
		return false
	}
	type choice struct {
		from     set
		at       destination
		endpoint [dataLimit]byte
	}
	left := map[choice]bool{}
	for k, v := range after {
		if k.set.isEndpointMap() {
			left[choice{k.set, l.destinationOf(k), v.data}] = true
		}
	}
	for k, v := range before {
		if !k.set.isEndpointMap() {
			continue
		}
		if one := (choice{k.set, l.destinationOf(k), v.data}); sticky[one.at] && !left[one] {
			return true
		}
	}
	return false
}

// forget deletes what the kernel remembers of clients whose endpoint is none of their Service's any more, or whose Service forgets after
// another time than it did. It comes after the change, when nothing leads there any more that could be remembered anew.
func (b *Backend) forget() error {
	for again := true; again; {
		stale, err := b.staleMemories()
		if err != nil {
			return err
		}
		again = false
		for some := range slices.Chunk(stale, forgetAtOnce) {
			change := newBatch(b.layout, tableName, 0)
			for _, e := range some {
				change.deleteElement(e)
			}
			err := commit(b.connection, change)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			again = again || err != nil
		}
	}
	return nil
}

// forgetAtOnce is how many clients a transaction forgets: one that expired since it was read takes the others with it, which are then
// read again.
const forgetAtOnce = 1000

// staleMemories are the elements of affinity that forget deletes.
func (b *Backend) staleMemories() (stale []element, err error) {
	err = b.connection.readSet(b.layout, affinity, func(e element, attributes []byte) error {
		var milliseconds uint64
		if timeout := find(attributes, unix.NFTA_SET_ELEM_TIMEOUT); len(timeout) == 8 {
			milliseconds = bigEndian.Uint64(timeout)
		}
		if !b.state.remembers(e, milliseconds) {
			stale = append(stale, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read set %s: %w", affinity.name(), err)
	}
	return stale, nil
}

// remembers says whether a client of a destination may still be sent to the endpoint in e.
func (s *state) remembers(e element, milliseconds uint64) bool {
	d := s.destinationOf(e.key)
	owner := s.owners[d]
	if owner == nil {
		d.kind, d.address = toNode, [16]byte{}
		if owner = s.owners[d]; owner == nil {
			return false
		}
	}
	port, as, found := portFor(owner.ports, d)
	if !found || uint64(port.AffinitySeconds)*1000 != milliseconds {
		return false
	}
	chosen := port.ExternalEndpoints()
	if as == asClusterIP {
		chosen = port.InternalEndpoints()
	} else if client := s.client(e.key); port.ExternalLocal && (s.options.ClusterCIDR.Contains(client) || slices.Contains(s.options.NodeIPs, client)) {
		chosen = port.Cluster
	}
	return slices.ContainsFunc(chosen, func(endpoint plan.Endpoint) bool { return endpointData(endpoint.AddrPort) == e.data })
}

// client is the address that a key of affinity begins with.
func (l layout) client(k key) netip.Addr {
	address, _ := netip.AddrFromSlice(k.bytes[:l.family.addressLength()])
	return address
}

// memory is an element of affinity with what is left of its time, both in milliseconds as the kernel encodes them.
type memory struct {
	element
	timeout, expiration []byte
}

// memories are all elements of affinity; none if the set is not as it should be.
func (b *Backend) memories() []memory {
	var all []memory
	err := b.connection.readSet(b.layout, affinity, func(e element, attributes []byte) error {
		one := memory{e, find(attributes, unix.NFTA_SET_ELEM_TIMEOUT), find(attributes, unix.NFTA_SET_ELEM_EXPIRATION)}
		one.timeout, one.expiration = bytes.Clone(one.timeout), bytes.Clone(one.expiration)
		all = append(all, one)
		return nil
	})
	if err != nil {
		return nil // it is damaged, and made anew because of that
	}
	return all
}

// addMemory adds to affinity what was remembered before the table was made anew.
func (b *batch) addMemory(m memory) {
	message := b.openFor(affinity, unix.NFT_MSG_NEWSETELEM)
	data := appendValue(b.appendKey(message, m.element), unix.NFTA_SET_ELEM_DATA, m.data[:message.dataLength])
	if len(m.timeout) == 8 && len(m.expiration) == 8 {
		data = append(data, raw(unix.NFTA_SET_ELEM_TIMEOUT, m.timeout)...)
		data = append(data, raw(unix.NFTA_SET_ELEM_EXPIRATION, m.expiration)...)
	}
	b.seal(message, data)
}
