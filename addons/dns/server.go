package dns

import (
	"context"
	"math/rand/v2"
	"net"

	"github.com/miekg/dns"
)

// udpSize is how large answers over UDP get at most: larger ones may be cut into pieces on the way (DNS flag day 2020).
const udpSize = 1232

// handler answers messages. It is used by all connections at once.
type handler struct {
	zone    zone
	records records
	// synced says whether the records are complete. Until then nobody can say that a name does not exist.
	synced  func() bool
	forward forwarder
}

// ServeDNS implements dns.Handler.
func (h *handler) ServeDNS(writer dns.ResponseWriter, request *dns.Msg) {
	reply := h.reply(request)
	size := dns.MaxMsgSize
	if _, udp := writer.RemoteAddr().(*net.UDPAddr); udp {
		size = dns.MinMsgSize
		if option := request.IsEdns0(); option != nil {
			size = min(max(int(option.UDPSize()), dns.MinMsgSize), udpSize)
		}
	}
	reply.Compress = true
	reply.Truncate(size)
	// Whoever does not get the answer asks again; there is nobody else to tell.
	_ = writer.WriteMsg(reply)
}

func (h *handler) reply(request *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(request)
	reply.RecursionAvailable = true // every name gets its final answer here; without the bit nslookup and dig warn
	if option := request.IsEdns0(); option != nil {
		reply.SetEdns0(udpSize, option.Do())
		if option.Version() != 0 {
			reply.Rcode = dns.RcodeBadVers
			return reply
		}
	}
	switch {
	case request.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
	case len(request.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
	case request.Question[0].Qclass != dns.ClassINET:
		reply.Rcode = dns.RcodeRefused
	case request.Question[0].Qtype == dns.TypeAXFR || request.Question[0].Qtype == dns.TypeIXFR:
		reply.Rcode = dns.RcodeRefused
	default:
		h.fill(reply, request.Question[0])
	}
	return reply
}

// fill answers the question in reply.
func (h *handler) fill(reply *dns.Msg, question dns.Question) {
	ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
	defer cancel()
	if !h.synced() {
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	found := h.zone.answer(question, h.records)
	if found.foreign {
		h.fillForeign(ctx, reply, question)
		return
	}
	reply.Authoritative = true
	reply.Rcode = found.rcode
	shuffle(found.answer)
	reply.Answer, reply.Ns = found.answer, found.authority
	reply.Extra = append(reply.Extra, found.extra...)
	if found.chase != "" && len(h.forward.upstreams) > 0 {
		target, err := h.forward.ask(ctx, dns.Question{Name: found.chase, Qtype: question.Qtype, Qclass: question.Qclass})
		if err != nil {
			reply.Rcode = dns.RcodeServerFailure
			return
		}
		reply.Rcode = target.Rcode
		reply.Answer = append(reply.Answer, target.Answer...)
	}
}

// fillForeign answers a question about the rest of the world: it is forwarded, or does not exist.
func (h *handler) fillForeign(ctx context.Context, reply *dns.Msg, question dns.Question) {
	if len(h.forward.upstreams) == 0 {
		reply.Rcode = dns.RcodeNameError
		return
	}
	response, err := h.forward.ask(ctx, question)
	if err != nil {
		reply.Rcode = dns.RcodeServerFailure
		return
	}
	reply.Rcode, reply.AuthenticatedData = response.Rcode, response.AuthenticatedData
	reply.Answer, reply.Ns = response.Answer, response.Ns
	for _, record := range response.Extra {
		if record.Header().Rrtype != dns.TypeOPT {
			reply.Extra = append(reply.Extra, record)
		}
	}
}

// shuffle mixes the addresses and locations among the answers, so that clients that take the first one spread out. Aliases
// stay in front.
func shuffle(answers []dns.RR) {
	first := 0
	for first < len(answers) && answers[first].Header().Rrtype == dns.TypeCNAME {
		first++
	}
	mixed := answers[first:]
	rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
}
