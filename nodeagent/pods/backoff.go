package pods

import (
	"errors"
	"net/url"
	"time"
)

const (
	crashBackOffFirst, crashBackOffLongest = 10 * time.Second, 5 * time.Minute
	pullBackOffFirst, pullBackOffLongest   = 10 * time.Second, 5 * time.Minute
	retryFirst, retryLongest               = 500 * time.Millisecond, 2 * time.Minute
	retryUnreachable                       = time.Second // the longest, where only the API server is missing: it is near
)

// crashBackOff delays a container's restarts: the first is at once, the next 10 s after the exit, then 20 s … 5 min. A container that
// has run for 10 min starts anew.
type crashBackOff struct {
	delay   time.Duration
	updated time.Time
}

// next says when a container that has exited at finished may start again; zero: now, which counts as a restart.
func (b *crashBackOff) next(finished, now time.Time) time.Time {
	if finished.Sub(b.updated) > 2*crashBackOffLongest {
		b.delay = 0
	}
	if until := finished.Add(b.delay); b.delay > 0 && now.Before(until) {
		return until
	}
	b.delay = min(max(2*b.delay, crashBackOffFirst), crashBackOffLongest)
	b.updated = now
	return time.Time{}
}

// retry delays what has failed: 0.5 s, then twice as long each time, to 2 min.
type retry struct {
	delay time.Duration
	at    time.Time // zero: nothing has failed
}

func (r *retry) failed(now time.Time, err error) {
	longest := retryLongest
	if errors.As(err, new(*url.Error)) { // no answer at all
		longest = retryUnreachable
	}
	r.delay = min(max(2*r.delay, retryFirst), longest)
	r.at = now.Add(r.delay)
}

func (r *retry) waits(now time.Time) bool { return now.Before(r.at) }

func (r *retry) reset() { *r = retry{} }
