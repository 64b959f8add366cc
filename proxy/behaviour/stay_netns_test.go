package behaviour

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// atOnce bounds the clients that stay somewhere at a time: with more of them the machine would be too slow to tell for how long.
const atOnce = 160

// playTimeouts plays the time-out of session affinity in all cases.
func (l *lab) playTimeouts(v variant, cases []aloneCase) {
	l.Helper()
	calls, waits := map[place]chan func(){}, []func(){}
	for _, client := range clientPlaces {
		calls[client] = make(chan func())
		waits = append(waits, l.clients(client, max(1, v.callers/slowness), calls[client]))
	}
	var results results
	var group sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, c := range cases {
		if !v.forgets(c.testCase) {
			continue
		}
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			s := stay{aloneCase: c, variant: v, expected: v.expect(c.testCase),
				timeout: time.Duration(v.affinitySeconds()) * time.Second, calls: calls[c.client]}
			if err := s.play(); err != nil {
				s.wrong = err.Error()
			}
			results.add(c.testCase, c.number, s.expected, s.result)
		})
	}
	group.Wait()
	for _, client := range clientPlaces {
		close(calls[client])
	}
	for _, wait := range waits {
		wait()
	}
	results.report(l)
}

// stay is a client that its Service's session affinity keeps at an endpoint for a time. Only its own clock says for how long.
type stay struct {
	aloneCase
	variant
	expected expectation
	timeout  time.Duration
	calls    chan<- func() // which are made from the client's place
	result
}

// visit is a connection: the proxy decided about it after it began and before it ended.
type visit struct {
	answer
	began, ended time.Time
}

// tick is what a kernel's clock may be wrong by: two jiffies at 100 Hz.
const tick = 20 * time.Millisecond

// patienceForTimeouts is for how many time-outs the client tries to be sure of its endpoint, and then tries to reach another: of two at
// random it gets the same so often once in 10^12 times.
const patienceForTimeouts = 40

// play returns an error if the client does not stay for as long as it comes back in time, or not go when it stayed away.
func (s *stay) play() error {
	last, err := s.untilSure()
	if err != nil {
		return err
	}
	for range patienceForTimeouts {
		// Not in step with other clients: in turns each would get its own endpoint again.
		time.Sleep(s.timeout + tick + rand.N(s.timeout/4))
		next, err := s.visit()
		if err != nil || next.endpoint != last.endpoint {
			return err
		}
	}
	return fmt.Errorf("still sent to %s after it stayed away for the time-out %d times", last.endpoint, patienceForTimeouts)
}

// untilSure visits until the client has been at the same endpoint for longer than the time-out, never away for as long: each
// connection begins the time anew. Where this machine was too slow to say how long the client was away, it begins anew.
func (s *stay) untilSure() (last visit, err error) {
	first, err := s.visit()
	if err != nil {
		return first, err
	}
	last = first
	for range 3 * patienceForTimeouts {
		if last.began.Sub(first.ended) > s.timeout {
			return last, nil
		}
		time.Sleep(s.timeout * 3 / 4)
		next, err := s.visit()
		if err != nil {
			return next, err
		}
		away := next.ended.Sub(last.began)
		switch {
		case away >= s.timeout-tick || s.mayMove(next.ended.Sub(next.began)):
			first = next
		case next.endpoint != last.endpoint:
			return next, fmt.Errorf("sent to %s and at most %s later to %s", last.endpoint, away, next.endpoint)
		}
		last = next
	}
	return last, fmt.Errorf("this machine is too slow to tell: no two connections in a row within %s", s.timeout)
}

// visit calls once.
func (s *stay) visit() (visit, error) {
	made := make(chan error, 1)
	var v visit
	s.calls <- func() {
		var err error
		v.began = time.Now()
		v.answer, err = call(s.protocol, s.address, slowly(patience))
		v.ended = time.Now()
		made <- err
	}
	if err := <-made; err != nil {
		return v, err
	}
	s.answers = append(s.answers, v.answer)
	if s.wrong = compare([]answer{v.answer}, expectation{outcome: answered, sources: s.expected.sources, sticky: true}); s.wrong != "" {
		return v, fmt.Errorf("call %d: %s", len(s.answers), s.wrong)
	}
	return v, nil
}
