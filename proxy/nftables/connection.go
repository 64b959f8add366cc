package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// connection is a netlink socket in one network namespace. The kernel does what it is sent before the send returns. It is kept: closing
// one waits until the kernel has let go of everything that was deleted, some milliseconds.
type connection struct {
	descriptor int
	sequence   uint32
	buffer     []byte
}

// dial opens a connection to the nf_tables of the calling thread's network namespace.
func dial() (*connection, error) {
	descriptor, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	c := &connection{descriptor: descriptor, sequence: 1 << 31} // batches count from 0
	for _, option := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1 << 20},
		{unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1},
		{unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1},
	} {
		if err := unix.SetsockoptInt(descriptor, option.level, option.name, option.value); err != nil {
			c.close()
			return nil, fmt.Errorf("set up netlink socket: %w", err)
		}
	}
	return c, nil
}

func (c *connection) close() { unix.Close(c.descriptor) }

// errNoAnswer is returned by commit when it is not known whether a batch was done.
var errNoAnswer = errors.New("the kernel did not answer")

// kernelError is what the kernel said of one message.
type kernelError struct {
	sequence uint32
	number   unix.Errno
	// offset is where in the message the attribute is that is wrong, in bytes; 0 if it does not say.
	offset  uint32
	message string
}

// commit sends a batch. It returns nothing when all of it is done, and else that nothing is.
func (c *connection) commit(b *batch) error {
	data := b.finish()
	failures, answered, err := c.send(data, b.sequence-2)
	if err != nil {
		return err
	}
	if len(failures) > 0 {
		first := failures[0]
		about := "the transaction"
		if int(first.sequence) < len(b.about) && first.sequence > 0 {
			about = b.about[first.sequence]
		}
		if first.message != "" {
			return fmt.Errorf("%s %s: %w (%s)", about, b.where(), first.number, first.message)
		}
		return fmt.Errorf("%s %s: %w", about, b.where(), first.number)
	}
	if !answered {
		return errNoAnswer
	}
	return nil
}

func (c *connection) send(data []byte, last uint32) (failures []kernelError, answered bool, err error) {
	if err := unix.SetsockoptInt(c.descriptor, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, max(1<<16, len(data)+4096)); err != nil {
		return nil, false, fmt.Errorf("make room for %d bytes in netlink socket: %w", len(data), err)
	}
	if err := unix.Sendto(c.descriptor, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, false, fmt.Errorf("send %d bytes to netlink socket: %w", len(data), err)
	}
	for {
		done, err := c.receive(unix.MSG_DONTWAIT, func(kind uint16, sequence uint32, body []byte) bool {
			if kind == unix.NLMSG_ERROR {
				if failure := parseError(sequence, body); failure.number != 0 {
					failures = append(failures, failure)
				}
				answered = answered || sequence == last
			}
			return false
		})
		if errors.Is(err, unix.EAGAIN) {
			return failures, answered, nil
		}
		if err != nil || done {
			return failures, answered, err
		}
	}
}

// parseError takes what follows a message's header: struct nlmsgerr, and attributes that say more.
func parseError(sequence uint32, body []byte) kernelError {
	const sizeofError = 4 + messageHeader
	failure := kernelError{sequence: sequence}
	if len(body) < sizeofError {
		failure.number = unix.EBADMSG
		return failure
	}
	failure.number = unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
	const attributeMessage, attributeOffset = 1, 2
	failure.message = findText(body[sizeofError:], attributeMessage)
	if offset := find(body[sizeofError:], attributeOffset); len(offset) == 4 {
		failure.offset = binary.NativeEndian.Uint32(offset)
	}
	return failure
}

// receive calls f for each message in one datagram until it says that it has enough.
func (c *connection) receive(flags int, f func(kind uint16, sequence uint32, body []byte) bool) (done bool, err error) {
	if c.buffer == nil {
		c.buffer = make([]byte, 1<<16)
	}
	var length int
	for {
		length, _, err = unix.Recvfrom(c.descriptor, c.buffer, flags)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return false, fmt.Errorf("receive from netlink socket: %w", err)
	}
	data := c.buffer[:length]
	for len(data) >= messageHeader {
		size := int(binary.NativeEndian.Uint32(data))
		if size < messageHeader || size > len(data) {
			return false, fmt.Errorf("netlink message of %d bytes in %d", size, len(data))
		}
		if f(binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint32(data[8:]), data[messageHeader:size]) {
			return true, nil
		}
		data = data[min(aligned(size), len(data)):]
	}
	return false, nil
}

// generation is the number of the network namespace's current ruleset. Every change of any program raises it by one.
func (c *connection) generation() (generation uint32, err error) {
	found := false
	err = c.ask(unix.NFT_MSG_GETGEN, unix.NFPROTO_UNSPEC, unix.NLM_F_ACK, nil, func(data []byte) error {
		if value := find(data, unix.NFTA_GEN_ID); len(value) == 4 {
			generation, found = bigEndian.Uint32(value), true
		}
		return nil
	})
	if err == nil && !found {
		err = errNoAnswer
	}
	if err != nil {
		return 0, fmt.Errorf("get nf_tables generation: %w", err)
	}
	return generation, nil
}

// dump asks for all objects of one kind and calls f with the attributes of each.
func (c *connection) dump(kind uint16, of family, attributes []attribute, f func(data []byte) error) error {
	return c.ask(kind, of, unix.NLM_F_DUMP, attributes, f)
}

// ask sends a request and calls f with the attributes of each answer.
func (c *connection) ask(kind uint16, of family, flags uint16, attributes []attribute, f func(data []byte) error) error {
	c.sequence++
	request := (&batch{sequence: c.sequence}).appendMessage(nil, tableMessage(kind), of, flags)
	for _, a := range attributes {
		request = append(request, a...)
	}
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	if err := unix.Sendto(c.descriptor, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink socket: %w", err)
	}
	var failure error
	for {
		done, err := c.receive(0, func(kind uint16, sequence uint32, body []byte) bool {
			switch {
			case sequence != c.sequence:
				return false // an answer to what was given up
			case kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE:
				if len(body) >= 4 {
					if number := int32(binary.NativeEndian.Uint32(body)); number < 0 {
						failure = unix.Errno(-number)
					}
				}
				return true
			}
			if failure == nil && len(body) >= familyHeader {
				failure = f(body[familyHeader:])
			}
			return false
		})
		if err != nil {
			return err
		}
		if done {
			return failure
		}
	}
}
