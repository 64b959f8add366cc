package behaviour

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/proxy"
)

// What depends on time or on turns needs a Service with one client alone: whom one client is sent to, another cannot change then.

// alone are Services with session affinity and the most endpoints, as one client calls them in one way: a case each but for protocol and
// family.
func alone() []testCase {
	var all []testCase
	for _, shape := range shapes() {
		if !shape.sticky || shape.endpoints != "every" || shape.admits != "all" {
			continue
		}
		for _, client := range clientPlaces {
			for _, way := range shape.ways(client, corev1.IPv4Protocol) {
				all = append(all, testCase{shape: shape, client: client, way: way})
			}
		}
	}
	return all
}

// affinitySeconds is the time-out of session affinity in these tests: as short as can be told from other causes to stay. In mode IPVS a
// client stays for as long as it has a connection, and one that was reset counts for 10 s more (ip_vs_proto_tcp's CLOSE).
func (v variant) affinitySeconds() int {
	if v.mode == proxy.IPVS {
		return max(12, slowness)
	}
	return slowness
}

// forgets says whether a client that stays away is free when its affinity ends. IPVS keeps it a minute more at a time for as long as it
// has a connection of it: one of UDP for 5 minutes; those of SCTP, and of TCP over IPv6 to node ports, were seen to last longer than the
// affinity here, too.
func (v variant) forgets(c testCase) bool {
	return v.mode != proxy.IPVS || c.protocol == corev1.ProtocolTCP && c.family == corev1.IPv4Protocol
}

// takesTurns says whether connections go to one endpoint after the other, and not to any at random.
func (v variant) takesTurns() bool { return v.mode == proxy.Userspace || v.mode == proxy.IPVS }

// Session affinity ends when its time-out has passed without a connection, and is switched off and on while the Service lives. All modes
// at once: they mostly wait.
func TestNetnsAffinity(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	defer group.Wait()
	for _, v := range variants {
		group.Go(func() {
			t.Run(v.name, func(t *testing.T) {
				v.require(t)
				testAffinity(t, v)
			})
		})
	}
}

func testAffinity(t *testing.T, v variant) {
	l := newLab(t)
	protocols := servedProtocols(v.mode)
	l.serveEverywhere(protocols)
	a := newAPI(t)
	services := sample(alone(), len(alone())*matrixServices/len(shapes()))
	a.forEach(len(services), func(i int) error {
		shape := services[i].shape
		service, endpointSlices := named(aloneName(i), shape.service(i, protocols, families), shape.endpointSlices(protocols))
		service.Spec.SessionAffinityConfig = affinityConfig(v.affinitySeconds())
		return a.create(t.Context(), service, endpointSlices...)
	})
	for _, node := range []place{node1, node2} {
		l.startProxy(a, v, node)
	}
	l.waitForProxies(a, protocols)

	cases := v.played(services, protocols)
	started := time.Now()
	l.playTimeouts(v, cases)
	timeouts := time.Since(started)
	a.switchAffinity(len(services), corev1.ServiceAffinityNone, nil)
	l.waitForProxies(a, protocols)
	free := slices.Clone(cases)
	for i := range free {
		free[i].sticky = false
	}
	l.playAlone(v, free, func(c aloneCase, expected expectation) result {
		if v.takesTurns() {
			return playTurns(v, c, expected)
		}
		return playCase(v, c.testCase, c.address, expected)
	})
	a.switchAffinity(len(services), corev1.ServiceAffinityClientIP, affinityConfig(int(corev1.DefaultClientIPServiceAffinitySeconds)))
	l.waitForProxies(a, protocols)
	l.playAlone(v, cases, func(c aloneCase, expected expectation) result { return playCase(v, c.testCase, c.address, expected) })
	t.Logf("%d of %d Services: %d cases until the time-out of %d s in %s; switched off and on in %s", len(services), len(alone()), len(cases),
		v.affinitySeconds(), timeouts.Round(time.Millisecond), (time.Since(started) - timeouts).Round(time.Millisecond))
}

func aloneName(i int) string { return fmt.Sprintf("alone-%d", i) }

func affinityConfig(seconds int) *corev1.SessionAffinityConfig {
	return &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(int32(seconds))}}
}

// switchAffinity changes the session affinity of the Services that are alone.
func (a *api) switchAffinity(n int, to corev1.ServiceAffinity, config *corev1.SessionAffinityConfig) {
	a.Helper()
	services := a.CoreV1().Services(metav1.NamespaceDefault)
	a.forEach(n, func(i int) error {
		service, err := services.Get(a.Context(), aloneName(i), metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("switch affinity: %w", err)
		}
		service.Spec.SessionAffinity, service.Spec.SessionAffinityConfig = to, config
		if _, err := services.Update(a.Context(), service, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("switch affinity: %w", err)
		}
		return nil
	})
}

// aloneCase is a case with what its client calls.
type aloneCase struct {
	testCase
	number  int // of its Service
	address netip.AddrPort
}

// played are the cases, of all protocols and families, in which the mode has endpoints to choose from.
func (v variant) played(services []testCase, protocols []corev1.Protocol) []aloneCase {
	var all []aloneCase
	for i, c := range services {
		for _, c.protocol = range protocols {
			for _, c.family = range families {
				if slices.Contains(c.ways(c.client, c.family), c.way) && len(v.expect(c).sources) > 1 {
					all = append(all, aloneCase{c, i, c.target(i)})
				}
			}
		}
	}
	return all
}

// playAlone plays each case from its client's place.
func (l *lab) playAlone(v variant, cases []aloneCase, play func(aloneCase, expectation) result) {
	l.Helper()
	var results results
	work := map[place][]func(){}
	for _, c := range cases {
		work[c.client] = append(work[c.client], func() {
			expected := v.expect(c.testCase)
			results.add(c.testCase, c.number, expected, play(c, expected))
		})
	}
	l.fromPlaces(v, work)
	results.report(l)
}

// rounds is how often each endpoint has its turn in playTurns.
const rounds = 6

// playTurns wants every endpoint to get as many connections as any other, but for one. A client may begin anew where the machine was too
// slow to say, and once more: a port that it has again can be that of a connection which goes on.
func playTurns(v variant, c aloneCase, expected expectation) (all result) {
	for fair, tries := 0, 0; fair < 2 && tries < 6; tries++ {
		counts, slow := map[place]int{}, false
		for range rounds * len(expected.sources) {
			began := time.Now()
			got, err := call(c.protocol, c.address, slowly(patience))
			if err != nil {
				return result{all.answers, err.Error()}
			}
			all.answers = append(all.answers, got)
			counts[got.endpoint]++
			slow = slow || v.mayMove(time.Since(began))
		}
		if wrong := compare(all.answers, expected); wrong != "" {
			return result{all.answers, wrong}
		}
		if slow {
			continue
		}
		if fair++; inTurn(counts, expected) {
			return result{answers: all.answers}
		}
		all.wrong = fmt.Sprintf("not in turn: %v", counts)
	}
	return all
}

func inTurn(counts map[place]int, expected expectation) bool {
	for endpoint := range expected.sources {
		if n := counts[endpoint]; n < rounds-1 || n > rounds+1 {
			return false
		}
	}
	return true
}
