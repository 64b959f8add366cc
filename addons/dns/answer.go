package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// specification is what dns-version answers: the version of the Kubernetes DNS specification.
const specification = "1.1.0"

// zone is the cluster's domain.
type zone struct {
	// domain is lower case and ends with a dot: cluster.local.
	domain string
	// ttl is how long answers may be kept, in seconds.
	ttl uint32
}

// answer is the reply to one question.
type answer struct {
	rcode int
	// answer and extra are the sections of that name; authority holds the SOA of a negative answer.
	answer, authority, extra []dns.RR
	// foreign says that the question is not about the cluster. The other fields are then empty.
	foreign bool
	// chase is a name outside the cluster that the last CNAME of answer leads to; empty for none.
	chase string
}

// maxAliases bounds how many ExternalName Services may follow one another.
const maxAliases = 8

// answer answers a question of class IN. A name that exists but has nothing of the asked type gets an empty answer
// (NODATA), one that does not exist NXDOMAIN; both with the zone's SOA.
func (z *zone) answer(question dns.Question, r records) answer {
	name := strings.ToLower(question.Name)
	switch {
	case dns.IsSubDomain(z.domain, name):
		return z.answerForward(question, name, r)
	case dns.IsSubDomain(reverse4, name):
		return z.answerReverse(question, reverse4, r)
	case dns.IsSubDomain(reverse6, name):
		return z.answerReverse(question, reverse6, r)
	}
	return answer{foreign: true}
}

func (z *zone) answerForward(question dns.Question, name string, r records) answer {
	found := z.lookUp(name, r)
	var reply answer
	owner := question.Name
	for range maxAliases {
		if found == nil || found.alias == "" {
			break
		}
		reply.answer = append(reply.answer, &dns.CNAME{Hdr: z.header(owner, dns.TypeCNAME), Target: found.alias})
		if question.Qtype == dns.TypeCNAME {
			return reply
		}
		owner = found.alias
		if !dns.IsSubDomain(z.domain, strings.ToLower(owner)) {
			reply.chase = owner
			return reply
		}
		found = z.lookUp(strings.ToLower(owner), r)
	}
	switch {
	case found == nil:
		reply.rcode = dns.RcodeNameError
	case found.alias != "":
		return answer{rcode: dns.RcodeServerFailure} // ExternalName Services that lead to each other
	case question.Qtype == dns.TypeANY:
		// RFC 8482: there is an answer, but not everything in one.
		reply.answer = append(reply.answer, &dns.HINFO{Hdr: z.header(owner, dns.TypeHINFO), Cpu: "RFC8482"})
	default:
		records, extra := found.rrs(z, owner, question.Qtype)
		reply.answer, reply.extra = append(reply.answer, records...), extra
		if len(records) > 0 {
			return reply
		}
	}
	if question.Qtype != dns.TypeANY || found == nil {
		reply.authority = []dns.RR{z.soa(z.domain)}
	}
	return reply
}

// The zones of names that addresses lead back to (RFC 1035 §3.5, RFC 3596 §2.5).
const reverse4, reverse6 = "in-addr.arpa.", "ip6.arpa."

// answerReverse answers what an address is called. An address that has no name may have one elsewhere.
func (z *zone) answerReverse(question dns.Question, zone string, r records) answer {
	address, ok := addressOfReverse(strings.ToLower(question.Name), zone)
	if !ok {
		return answer{foreign: true}
	}
	names := r.namesOf(address)
	if len(names) == 0 {
		return answer{foreign: true}
	}
	if question.Qtype != dns.TypePTR {
		return answer{authority: []dns.RR{z.soa(zone)}}
	}
	var reply answer
	for _, target := range names {
		reply.answer = append(reply.answer, &dns.PTR{Hdr: z.header(question.Name, dns.TypePTR), Ptr: target + z.domain})
	}
	return reply
}

// addressOfReverse is the address that the name in a reverse zone is about: of 1.0.96.10.in-addr.arpa. it is 10.96.0.1, and of a name
// in ip6.arpa. it is the 32 hexadecimal digits from the last to the first.
func addressOfReverse(name, zone string) (netip.Addr, bool) {
	labels := dns.SplitDomainName(strings.TrimSuffix(name, zone))
	slices.Reverse(labels)
	text := strings.Join(labels, ".")
	if zone == reverse6 {
		digits := strings.Join(labels, "")
		if len(labels) != 32 || len(digits) != 32 {
			return netip.Addr{}, false
		}
		text = digits[:4]
		for i := 4; i < 32; i += 4 {
			text += ":" + digits[i:i+4]
		}
	}
	address, err := netip.ParseAddr(text)
	return address, err == nil
}

func (z *zone) header(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: z.ttl}
}

// soa has CoreDNS' numbers. The serial is constant: nobody transfers the zone.
func (z *zone) soa(owner string) dns.RR {
	return &dns.SOA{
		Hdr: z.header(owner, dns.TypeSOA), Ns: "ns.dns." + z.domain, Mbox: "hostmaster." + z.domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: z.ttl,
	}
}

func (z *zone) a(owner string, address netip.Addr) dns.RR {
	if address.Is4() {
		return &dns.A{Hdr: z.header(owner, dns.TypeA), A: address.AsSlice()}
	}
	return &dns.AAAA{Hdr: z.header(owner, dns.TypeAAAA), AAAA: address.AsSlice()}
}
