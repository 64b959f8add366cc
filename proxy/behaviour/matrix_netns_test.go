package behaviour

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kubelite/kubelite/proxy"
)

// servedProtocols are those of kernel and mode. A userspace proxy would have to speak SCTP itself, and kube-proxy's never did.
func servedProtocols(mode proxy.Mode) []corev1.Protocol {
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}
	if hasSCTP() && mode != proxy.Userspace {
		protocols = append(protocols, corev1.ProtocolSCTP)
	}
	return protocols
}

func TestNetnsMatrix(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			v.require(t)
			l := newLab(t)
			protocols := servedProtocols(v.mode)
			l.serveEverywhere(protocols)
			a := newAPI(t)
			a.createNodes()
			all := sample(shapes(), matrixServices)
			a.forEach(len(all), func(i int) error {
				return a.create(t.Context(), all[i].service(i, protocols, families), all[i].endpointSlices(protocols)...)
			})
			started := time.Now()
			for _, node := range []place{node1, node2} {
				l.startProxy(a, v, node)
			}
			l.waitForProxies(a, protocols)
			programmed := time.Now()
			cases, calls := l.play(v, all, protocols)
			t.Logf("%d of %d Services programmed in %s; %d cases of %v with %d calls in %s",
				len(all), len(shapes()), programmed.Sub(started).Round(time.Millisecond), cases, protocols, calls, time.Since(programmed).Round(time.Millisecond))
		})
	}
}

// named gives the Service and its slices another name than their shape's.
func named(name string, service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	service.Name = name
	for _, slice := range endpointSlices {
		slice.Name, slice.Labels[discoveryv1.LabelServiceName] = name+"-"+strings.ToLower(string(slice.AddressType)), name
	}
	return service, endpointSlices
}

func (s shape) endpointSlices(protocols []corev1.Protocol) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	for _, family := range families {
		all = append(all, s.endpointSlice(protocols, family))
	}
	return all
}

func (l *lab) serveEverywhere(protocols []corev1.Protocol) {
	for _, p := range []place{pod1a, pod2a, node1, node2} {
		for _, protocol := range protocols {
			for _, family := range families {
				l.serve(p, protocol, family, endpointPort)
			}
		}
	}
}

// waitForProxies makes two Services more, one after the other, and waits until each is served in every family by both nodes: what was
// there before is served when the first is, or at least begun, as one change with it, and has been done when the second is.
func (l *lab) waitForProxies(a *api, protocols []corev1.Protocol) {
	l.Helper()
	for range 2 {
		l.last++
		l.waitForOne(a, len(shapes())+l.last, protocols)
	}
}

func (l *lab) waitForOne(a *api, number int, protocols []corev1.Protocol) {
	l.Helper()
	last := shape{kind: corev1.ServiceTypeClusterIP, endpoints: "own", admits: "all"}
	service, endpointSlices := named(fmt.Sprintf("last-%d", number), last.service(number, protocols, families), last.endpointSlices(protocols))
	if err := a.create(context.Background(), service, endpointSlices...); err != nil {
		l.Fatal(err)
	}
	for _, client := range []place{pod1b, pod2b} {
		for _, family := range families {
			target := testCase{shape: last, family: family, client: client, way: clusterIP}.target(number)
			l.eventually(client, func() error {
				got, err := call(corev1.ProtocolTCP, target, slowly(impatience))
				if err == nil && got.outcome != answered {
					err = fmt.Errorf("call %s from %s: %s", target, client, got)
				}
				return err
			})
		}
	}
}

// eventually tries f in the place until it returns nil.
func (l *lab) eventually(p place, f func() error) {
	l.Helper()
	work := make(chan func(), 1)
	wait := l.clients(p, 1, work)
	failure := make(chan error, 1)
	work <- func() {
		deadline := time.Now().Add(slowly(time.Minute))
		for {
			err := f()
			if err == nil || time.Now().After(deadline) {
				failure <- err
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	close(work)
	wait()
	if err := <-failure; err != nil {
		l.Fatal(err)
	}
}

// play calls every Service from every place in every way, and returns how many cases and calls that were. The ways of one client to
// one Service come one after the other: what it is stuck to must not change while it is asked.
func (l *lab) play(v variant, all []shape, protocols []corev1.Protocol) (cases, calls int) {
	var results results
	work := map[place][]func(){}
	for _, client := range clientPlaces {
		for i, shape := range all {
			for _, protocol := range protocols {
				for _, family := range families {
					work[client] = append(work[client], func() {
						for _, way := range shape.ways(client, family) {
							c := testCase{shape, protocol, family, client, way}
							expected := v.expect(c)
							results.add(c, i, expected, playCase(v, c, c.target(i), expected))
						}
					})
				}
			}
		}
	}
	l.fromPlaces(v, work)
	results.report(l)
	return results.cases, results.calls
}

// fromPlaces does each place's work in its namespace, as many at a time as the mode is for.
func (l *lab) fromPlaces(v variant, all map[place][]func()) {
	l.Helper()
	var waits []func()
	for client, work := range all {
		queue := make(chan func(), len(work))
		for _, f := range work {
			queue <- f
		}
		close(queue)
		waits = append(waits, l.clients(client, max(1, v.callers/slowness), queue))
	}
	for _, wait := range waits {
		wait()
	}
}

// result is what the calls of one case heard; wrong says what is not as expected, and is empty if nothing.
type result struct {
	answers []answer
	wrong   string
}

// results collects those of many cases. Its zero value is empty; add may be called concurrently.
type results struct {
	mutex        sync.Mutex
	cases, calls int
	mismatches   []string
}

// add adds the result of a case whose Service is the i-th.
func (r *results) add(c testCase, i int, expected expectation, result result) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.cases, r.calls = r.cases+1, r.calls+len(result.answers)
	if result.wrong != "" {
		r.mismatches = append(r.mismatches, fmt.Sprintf("%s (%s): expected %s; %s", c, c.target(i), expected, result.wrong))
	}
}

// report fails the test for every mismatch.
func (r *results) report(t testing.TB) {
	t.Helper()
	slices.Sort(r.mismatches)
	const shown = 60
	for _, mismatch := range r.mismatches[:min(shown, len(r.mismatches))] {
		t.Error(mismatch)
	}
	if len(r.mismatches) > shown {
		t.Errorf("and %d more", len(r.mismatches)-shown)
	}
}

// Calls of one case. An endpoint that has its share is missed by that many calls for each of them once in 10^11 times; one client that
// should always reach the same of two endpoints, and does not, is overlooked by 8 calls once in 128 times, but not in all cases.
const (
	callsPerEndpoint = 28
	callsWhenSticky  = 8
	callsAtLeast     = 3
)

// playCase calls until every expected endpoint answered, but not for ever.
func playCase(v variant, c testCase, target netip.AddrPort, expected expectation) result {
	answers, err := callAll(v, c, target, expected)
	if err != nil {
		return result{answers, err.Error()}
	}
	return result{answers, compare(answers, expected)}
}

// callAll returns the answers of one stay at the endpoints: of a client that affinity keeps, those since it may have moved.
func callAll(v variant, c testCase, target netip.AddrPort, expected expectation) ([]answer, error) {
	wait := slowly(patience)
	if expected.outcome == unanswered || expected.outcome == leftAlone || expected.outcome == unheard {
		wait = slowly(impatience)
	}
	var answers []answer
	seen := map[place]bool{}
	atMost := max(1, len(expected.sources)) * callsPerEndpoint
	if expected.sticky {
		atMost = 2 * callsWhenSticky
	}
	for range atMost {
		began := time.Now()
		got, err := call(c.protocol, target, wait)
		if err != nil {
			return answers, fmt.Errorf("call %d: %w", len(answers)+1, err)
		}
		if expected.sticky && v.mayMove(time.Since(began)) {
			answers = nil
		}
		answers = append(answers, got)
		seen[got.endpoint] = true
		switch {
		case got.outcome != answered:
			return answers, nil
		case expected.sticky && len(answers) >= callsWhenSticky:
			return answers, nil
		case !expected.sticky && len(answers) >= callsAtLeast && len(seen) >= len(expected.sources):
			return answers, nil
		}
	}
	return answers, nil
}

// compare says what is not as expected; empty if nothing.
func compare(answers []answer, expected expectation) string {
	seen := map[place]bool{}
	for _, got := range answers {
		if !expected.allows(got.outcome) {
			return got.String()
		}
		if got.outcome != answered {
			continue
		}
		sources, is := expected.sources[got.endpoint]
		if !is || !slices.Contains(sources, got.source) {
			return got.String()
		}
		seen[got.endpoint] = true
	}
	switch {
	case expected.sticky && len(seen) > 1:
		return fmt.Sprintf("%d endpoints in turn", len(seen))
	case !expected.sticky && len(seen) < len(expected.sources):
		return fmt.Sprintf("%d of %d endpoints in %d calls", len(seen), len(expected.sources), len(answers))
	}
	return ""
}
