package iptables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// program does the step. Where iptables-nft would have to read a long chain to find a rule to remove, this asks the kernel itself to
// delete what is to be deleted from the table, once the rest is written; each of the two happens at once. That needs the kernel's
// rules to be known, and otherwise is left to iptables-nft.
func (b *Backend) program(ctx context.Context, step *transaction) error {
	removes := false
	for _, input := range step.tables {
		for _, name := range input.declared {
			delete(b.seen.handles, chain{input.name, name})
		}
		removes = removes || len(input.removed) > 0
	}
	if !b.tool.nft || !removes {
		return b.tool.restore(ctx, step.String())
	}
	for _, input := range step.tables {
		if err := b.programTable(ctx, input); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) programTable(ctx context.Context, input *tableInput) error {
	if len(input.removed) == 0 {
		return b.tool.restore(ctx, input.String())
	}
	deletion, err := b.deletion(input)
	if errors.Is(err, errOtherRules) {
		b.seen.handles = nil
		return b.tool.restore(ctx, input.String())
	}
	if err != nil {
		return err
	}
	if writing := input.writing(); !writing.empty() {
		if err := b.tool.restore(ctx, writing.String()); err != nil {
			return err
		}
	}
	if err := b.delete(ctx, deletion); errors.Is(err, errOtherRules) {
		b.seen.handles = nil
		return b.tool.restore(ctx, input.deleting().String())
	} else if err != nil {
		return fmt.Errorf("delete from table %s: %w", input.name, err)
	}
	for _, rule := range input.removed {
		delete(b.seen.handles[chain{input.name, rule.chain}], rule.rule)
	}
	return nil
}

// deletion is what input deletes, as messages. It returns errOtherRules where the kernel's rules are not known, or not told apart.
func (b *Backend) deletion(input *tableInput) ([]*nl.NetlinkRequest, error) {
	if !b.seen.valid || b.removesOneOfSame(input) {
		return nil, errOtherRules
	}
	if b.seen.handles == nil {
		b.seen.handles = handles{}
	}
	for _, rule := range input.removed {
		c := chain{input.name, rule.chain}
		if _, known := b.seen.handles[c][rule.rule]; !known {
			if err := b.seen.handles.learn(b.tool.protocol(), c, b.state.shared[c]); err != nil {
				return nil, err
			}
		}
	}
	return b.seen.handles.deleting(b.tool.protocol(), input)
}

// removesOneOfSame says whether a rule to remove is in its chain twice, as a refusing one is where a Service's external IP is its load
// balancer's: there is one handle for both then, while the state, as iptables-nft, takes out the first.
func (b *Backend) removesOneOfSame(input *tableInput) bool {
	found := make(map[removedRule]int, len(input.removed))
	chains := map[string]bool{}
	for _, rule := range input.removed {
		found[rule], chains[rule.chain] = 0, true
	}
	for name := range chains {
		for _, rule := range b.state.shared[chain{input.name, name}] {
			one := removedRule{name, rule.text}
			if count, removed := found[one]; removed {
				if count > 0 {
					return true
				}
				found[one]++
			}
		}
	}
	return false
}

func (t tool) protocol() uint8 {
	if t.ipv6() {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// delete sends messages as one transaction: all of it is done, or nothing. It returns errOtherRules when someone else changed
// anything since the rules were seen; the kernel sees to that.
func (b *Backend) delete(ctx context.Context, messages []*nl.NetlinkRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	own, err := ownCommits()
	if err != nil {
		return err
	}
	if b.socket == nil {
		if b.socket, err = nl.Subscribe(unix.NETLINK_NETFILTER); err != nil {
			return fmt.Errorf("open netlink socket: %w", err)
		}
	}
	if err := commit(b.socket, b.seen.generation+own.Load(), messages); err != nil {
		b.socket.Close() // there may be more answers
		b.socket = nil
		return err
	}
	own.Add(1)
	return nil
}

// commit sends messages as one transaction and waits for the answer.
func commit(socket *nl.NetlinkSocket, generation uint32, messages []*nl.NetlinkRequest) error {
	last := messages[len(messages)-1]
	last.Flags |= unix.NLM_F_ACK
	data := boundary(unix.NFNL_MSG_BATCH_BEGIN, nl.NewRtAttr(unix.NFNL_BATCH_GENID, binary.BigEndian.AppendUint32(nil, generation)))
	for _, m := range messages {
		data = append(data, m.Serialize()...)
	}
	data = append(data, boundary(unix.NFNL_MSG_BATCH_END)...)
	if err := unix.SetsockoptInt(socket.GetFd(), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, max(1<<16, len(data)+4096)); err != nil {
		return fmt.Errorf("make room for %d bytes in netlink socket: %w", len(data), err)
	}
	if err := unix.Sendto(socket.GetFd(), data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send %d bytes to netlink socket: %w", len(data), err)
	}
	for {
		answers, _, err := socket.Receive()
		if err != nil {
			return fmt.Errorf("receive from netlink socket: %w", err)
		}
		for _, answer := range answers {
			if answer.Header.Type != unix.NLMSG_ERROR || len(answer.Data) < 4 {
				continue
			}
			switch number := unix.Errno(-int32(binary.NativeEndian.Uint32(answer.Data))); {
			case number == unix.ERESTART:
				return errOtherRules
			case number != 0:
				return number
			case answer.Header.Seq == last.Seq:
				return nil
			}
		}
	}
}

// boundary is the first or the last message of a transaction. A first one with a generation makes the kernel refuse the transaction
// with ERESTART where it has another.
func boundary(kind int, attributes ...*nl.RtAttr) []byte {
	request := nl.NewNetlinkRequest(kind, 0)
	request.AddData(&nl.Nfgenmsg{Version: nl.NFNETLINK_V0, ResId: nl.Swap16(unix.NFNL_SUBSYS_NFTABLES)})
	for _, attribute := range attributes {
		request.AddData(attribute)
	}
	return request.Serialize()
}
