package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// maxEntries bounds a set: ten thousand Services with five endpoints each have fifty thousand entries in KUBE-LOOP-BACK.
const maxEntries = 1 << 20

func (k *linuxKernel) makeSets() error {
	for _, s := range allSets {
		if err := k.makeSet(s); err != nil {
			return err
		}
	}
	return nil
}

func (k *linuxKernel) makeSet(s *set) error {
	name := s.nameFor(k.options.Family)
	options := netlink.IpsetCreateOptions{Replace: true, Family: uint8(k.family), MaxElements: maxEntries}
	if s.kind == bitmapPort {
		options = netlink.IpsetCreateOptions{Replace: true, PortFrom: 0, PortTo: 65535}
	}
	err := k.netlink.IpsetCreate(name, string(s.kind), options)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, nl.IPSetError(nl.IPSET_ERR_TYPE_MISMATCH)) {
		// Another process may have made it with another size, but it must hold the same things.
		present, listError := k.netlink.IpsetList(name)
		if listError == nil && present.TypeName == string(s.kind) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("make set %s of type %s: %w", name, s.kind, err)
	}
	return nil
}

func (k *linuxKernel) entries(s *set) (map[entry]bool, error) {
	name := s.nameFor(k.options.Family)
	list, err := k.netlink.IpsetList(name)
	if err != nil {
		return nil, fmt.Errorf("list set %s: %w", name, err)
	}
	all := make(map[entry]bool, len(list.Entries))
	for i := range list.Entries {
		e, err := parseEntry(s, &list.Entries[i])
		if err != nil {
			return nil, fmt.Errorf("list set %s: %w", name, err)
		}
		all[e] = true
	}
	return all, nil
}

func parseEntry(s *set, from *netlink.IPSetEntry) (entry, error) {
	e := entry{set: s}
	if s.kind != bitmapPort {
		address, ok := fromIP(from.IP)
		if !ok {
			return entry{}, fmt.Errorf("entry with address %v", from.IP)
		}
		e.address = address
	}
	if from.Port != nil {
		e.port = *from.Port
	}
	if from.Protocol != nil && s.kind != bitmapPort {
		protocol, ok := protocolOf(uint16(*from.Protocol))
		if !ok {
			return entry{}, fmt.Errorf("entry with protocol %d", *from.Protocol)
		}
		e.protocol = protocol
	}
	if s.kind == hashIPPortIP || s.kind == hashIPPortNet {
		address, ok := fromIP(from.IP2)
		if !ok {
			return entry{}, fmt.Errorf("entry with source %v", from.IP2)
		}
		bits := address.BitLen()
		if s.kind == hashIPPortNet && from.CIDR2 != 0 {
			bits = int(from.CIDR2)
		}
		e.source = netip.PrefixFrom(address, bits)
	}
	return e, nil
}

func (k *linuxKernel) addEntry(e entry) error {
	if err := k.changeEntry(nl.IPSET_CMD_ADD, e); err != nil {
		return fmt.Errorf("add entry %s: %w", e, err)
	}
	return nil
}

func (k *linuxKernel) deleteEntry(e entry) error {
	if err := k.changeEntry(nl.IPSET_CMD_DEL, e); err != nil {
		return fmt.Errorf("delete entry %s: %w", e, err)
	}
	return nil
}

// changeEntry sends one message. The netlink package's own gives every entry with a port a protocol, which a bitmap:port refuses.
func (k *linuxKernel) changeEntry(command int, e entry) error {
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|int(nl.NLA_F_NESTED), nil)
	if e.address.IsValid() {
		data.AddChild(addressAttribute(nl.IPSET_ATTR_IP, e.address))
	}
	if e.set.kind != hashIP {
		port := binary.BigEndian.AppendUint16(nil, e.port)
		data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_PORT|int(nl.NLA_F_NET_BYTEORDER), port))
	}
	if number, ok := protocolNumbers[e.protocol]; ok {
		data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_PROTO, nl.Uint8Attr(uint8(number))))
	}
	if e.source.IsValid() {
		data.AddChild(addressAttribute(nl.IPSET_ATTR_IP2, e.source.Addr()))
		if e.set.kind == hashIPPortNet {
			data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_CIDR2, nl.Uint8Attr(uint8(e.source.Bits()))))
		}
	}
	request := nl.NewNetlinkRequest(command|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(command)|unix.NLM_F_EXCL)
	request.Sockets = k.sets
	request.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(k.family), Version: nl.NFNETLINK_V0})
	request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
	request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(e.set.nameFor(k.options.Family))))
	request.AddData(data)
	_, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	var number unix.Errno
	if errors.As(err, &number) && number >= nl.IPSET_ERR_PRIVATE {
		return nl.IPSetError(number)
	}
	return err
}

// addressAttribute is an address within an attribute that says which part of the entry it is.
func addressAttribute(part int, address netip.Addr) *nl.RtAttr {
	kind := nl.IPSET_ATTR_IPADDR_IPV4
	if address.Is6() {
		kind = nl.IPSET_ATTR_IPADDR_IPV6
	}
	outer := nl.NewRtAttr(part|int(nl.NLA_F_NESTED), nil)
	outer.AddChild(nl.NewRtAttr(kind|int(nl.NLA_F_NET_BYTEORDER), address.AsSlice()))
	return outer
}
