package dns

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

const (
	// forwardTimeout bounds a forwarded question with all its tries.
	forwardTimeout = 5 * time.Second
	// upstreamTimeout bounds one try: a resolver that is silent for so long is passed over.
	upstreamTimeout = 2 * time.Second
)

// forwarder asks resolvers outside the cluster. The zero value has none.
type forwarder struct {
	// upstreams are host:port, in the order in which they are asked.
	upstreams []string
}

// ask returns the first response that an upstream gives, over TCP where it does not fit UDP. It is an error if none
// answers.
func (f forwarder) ask(ctx context.Context, question dns.Question) (*dns.Msg, error) {
	request := new(dns.Msg)
	request.Id = dns.Id()
	request.RecursionDesired = true
	request.Question = []dns.Question{question}
	request.SetEdns0(udpSize, false)
	var failure error
	for _, upstream := range f.upstreams {
		response, err := exchange(ctx, "udp", request, upstream)
		if err == nil && response.Truncated {
			response, err = exchange(ctx, "tcp", request, upstream)
		}
		if err == nil {
			return response, nil
		}
		failure = fmt.Errorf("forward to %s: %w", upstream, err)
	}
	return nil, failure
}

func exchange(ctx context.Context, network string, request *dns.Msg, upstream string) (*dns.Msg, error) {
	client := dns.Client{Net: network, Timeout: upstreamTimeout, UDPSize: udpSize}
	response, _, err := client.ExchangeContext(ctx, request, upstream)
	return response, err
}
