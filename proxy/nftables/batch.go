package nftables

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// batch is a transaction of nf_tables as netlink messages: the kernel does all of it or nothing.
type batch struct {
	layout
	// table is the table's name.
	table string
	// data are whole messages, but for the open ones.
	data []byte
	// last is where the last one starts.
	last int
	// sequence numbers messages; about has what each is about, for errors.
	sequence uint32
	about    []string
	// open are messages with elements that still take more, by set; all are of openKind, so that what is to be deleted goes first.
	open     [setCount]elementMessage
	openKind uint16
	verdicts map[chain][]byte
	// added counts the elements that are added. sizeAt is where data says the size of a set of a table that is added.
	added  [setCount]int
	sizeAt [setCount]int
}

const (
	messageHeader = unix.NLMSG_HDRLEN
	familyHeader  = 4 // struct nfgenmsg
)

// newBatch begins a batch for a table. The kernel refuses it with ERESTART if its generation is another than the given one, unless that
// is 0.
func newBatch(l layout, table string, generation uint32) *batch {
	b := &batch{layout: l, table: table, verdicts: map[chain][]byte{}}
	var condition []attribute
	if generation != 0 {
		condition = []attribute{number(unix.NFNL_BATCH_GENID, generation)}
	}
	b.message(unix.NFNL_MSG_BATCH_BEGIN, unix.NFPROTO_UNSPEC, 0, "begin", condition...)
	// The batch's own messages say which subsystem they are for where others have nothing.
	bigEndian.PutUint16(b.data[messageHeader+2:], unix.NFNL_SUBSYS_NFTABLES)
	return b
}

func tableMessage(kind uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

// appendMessage appends the headers of a message without its length, which seal sets.
func (b *batch) appendMessage(buffer []byte, kind uint16, of family, flags uint16) []byte {
	buffer = binary.NativeEndian.AppendUint32(buffer, 0)
	buffer = binary.NativeEndian.AppendUint16(buffer, kind)
	buffer = binary.NativeEndian.AppendUint16(buffer, unix.NLM_F_REQUEST|flags)
	buffer = binary.NativeEndian.AppendUint32(buffer, b.sequence)
	buffer = binary.NativeEndian.AppendUint32(buffer, 0)
	return append(buffer, byte(of), unix.NFNETLINK_V0, 0, 0)
}

func (b *batch) message(kind uint16, of family, flags uint16, about string, attributes ...attribute) {
	b.last = len(b.data)
	b.data = b.appendMessage(b.data, kind, of, flags)
	for _, a := range attributes {
		b.data = append(b.data, a...)
	}
	binary.NativeEndian.PutUint32(b.data[b.last:], uint32(len(b.data)-b.last))
	b.about = append(b.about, about)
	b.sequence++
}

// addTable adds the table with its constant part. makeRoom has to follow when all elements are added.
func (b *batch) addTable() {
	const tableComment, comment = 6, 0
	b.message(tableMessage(unix.NFT_MSG_NEWTABLE), b.family, unix.NLM_F_CREATE, "add table", text(unix.NFTA_TABLE_NAME, b.table),
		raw(tableComment, userdata(comment, []byte("Services of kubelite\x00"))))
	for s := range setCount {
		attributes := append(s.declaration(b.family), text(unix.NFTA_SET_TABLE, b.table), number(unix.NFTA_SET_ID, uint32(s)+1))
		if s.isSized() {
			attributes = append(attributes, room(minimalSize))
		}
		b.message(tableMessage(unix.NFT_MSG_NEWSET), b.family, unix.NLM_F_CREATE, "add set "+s.name(), attributes...)
		b.sizeAt[s] = len(b.data) - 4 // it comes last
	}
	for _, c := range b.chains() {
		attributes := append([]attribute{text(unix.NFTA_CHAIN_TABLE, b.table), text(unix.NFTA_CHAIN_NAME, c.name)}, c.hook.attributes()...)
		b.message(tableMessage(unix.NFT_MSG_NEWCHAIN), b.family, unix.NLM_F_CREATE, "add chain "+c.name, attributes...)
		b.addRules(c.name, c.rules)
	}
}

// makeRoom gives the sets of the added table the sizes for the added elements.
func (b *batch) makeRoom() {
	for s, size := range sizesFor(b.added) {
		if set(s).isSized() {
			bigEndian.PutUint32(b.data[b.sizeAt[s]:], size)
		}
	}
}

func (h *hook) attributes() []attribute {
	if h == nil {
		return nil
	}
	const accept = 1
	return []attribute{
		nested(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, h.number), number(unix.NFTA_HOOK_PRIORITY, uint32(h.priority))),
		number(unix.NFTA_CHAIN_POLICY, accept),
		text(unix.NFTA_CHAIN_TYPE, h.kind),
	}
}

func (b *batch) addRules(chain string, rules []rule) {
	for _, r := range rules {
		b.message(tableMessage(unix.NFT_MSG_NEWRULE), b.family, unix.NLM_F_CREATE|unix.NLM_F_APPEND, "add a rule to chain "+chain,
			text(unix.NFTA_RULE_TABLE, b.table), text(unix.NFTA_RULE_CHAIN, chain), nested(unix.NFTA_RULE_EXPRESSIONS, r...))
	}
}

// deleteTable deletes the table with all that is in it.
func (b *batch) deleteTable() {
	b.message(tableMessage(unix.NFT_MSG_DELTABLE), b.family, 0, "delete table", text(unix.NFTA_TABLE_NAME, b.table))
}

func (b *batch) addChain(c chain) {
	b.message(tableMessage(unix.NFT_MSG_NEWCHAIN), b.family, unix.NLM_F_CREATE, "add chain "+c.name(),
		text(unix.NFTA_CHAIN_TABLE, b.table), text(unix.NFTA_CHAIN_NAME, c.name()))
	b.addRules(c.name(), b.rulesOf(c))
}

func (b *batch) deleteChain(c chain) {
	b.flush()
	b.message(tableMessage(unix.NFT_MSG_DELCHAIN), b.family, 0, "delete chain "+c.name(),
		text(unix.NFTA_CHAIN_TABLE, b.table), text(unix.NFTA_CHAIN_NAME, c.name()))
}

// finish ends the batch and returns it. Its last message of ours is answered, be it with an error or without.
func (b *batch) finish() []byte {
	b.flush()
	flags := b.data[b.last+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
	b.message(unix.NFNL_MSG_BATCH_END, unix.NFPROTO_UNSPEC, 0, "end")
	bigEndian.PutUint16(b.data[b.last+messageHeader+2:], unix.NFNL_SUBSYS_NFTABLES)
	return b.data
}

// empty says whether there is nothing to do.
func (b *batch) empty() bool {
	b.flush()
	return b.sequence == 1
}

// reserve makes room for a number of Services, about.
func (b *batch) reserve(services int) {
	b.data = append(make([]byte, 0, len(b.data)+services*400), b.data...)
}

// where says which table the batch is for.
func (b *batch) where() string {
	if b.family == unix.NFPROTO_IPV6 {
		return "in table ip6 " + b.table
	}
	return "in table ip " + b.table
}
