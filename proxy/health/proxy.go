package health

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Timeout is how long a change may wait to be programmed before the proxy counts as unhealthy: twice kube-proxy's sync period.
const Timeout = time.Minute

// toBeDeletedTaint is what the cluster autoscaler puts on a node before it deletes it.
const toBeDeletedTaint = "ToBeDeletedByClusterAutoscaler"

// Proxy knows whether the proxy keeps up with what it is told. Its methods may be called concurrently.
type Proxy struct {
	// Answered is told each status that /healthz or /livez was answered with, named by path; nil for nobody.
	Answered func(path string, status int)

	now func() time.Time

	mutex        sync.Mutex
	programmed   bool
	nodeEligible bool
	updated      map[corev1.IPFamily]time.Time
	// queued is when the oldest change came that nobody has begun to program; taken is the same of those that are being programmed.
	queued, taken map[corev1.IPFamily]time.Time
}

// NewProxy makes one that is healthy and knows no node yet.
func NewProxy() *Proxy {
	return &Proxy{now: time.Now, updated: map[corev1.IPFamily]time.Time{}, queued: map[corev1.IPFamily]time.Time{}, taken: map[corev1.IPFamily]time.Time{}}
}

// Queued says that there is a change for the families to program.
func (p *Proxy) Queued(families ...corev1.IPFamily) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := p.now()
	for _, family := range families {
		if _, waiting := p.queued[family]; !waiting {
			p.queued[family] = now
		}
	}
}

// Taken says that what is queued for the family is being programmed from now on. What is queued after that is not done when Updated is
// told; kube-proxy's healthcheck forgets that it waits.
func (p *Proxy) Taken(family corev1.IPFamily) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	since, waiting := p.queued[family]
	if _, before := p.taken[family]; waiting && !before {
		p.taken[family] = since
	}
	delete(p.queued, family)
}

// Updated says that all changes for the family that were taken are programmed.
func (p *Proxy) Updated(family corev1.IPFamily) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.taken, family)
	p.updated[family] = p.now()
}

// Programmed says that everything was programmed once, in all families and without a trace of another mode. Before, /healthz says
// no: kube-proxy's says yes from its start on, but who switches a mode, or drains an old proxy, wants to know when this one serves.
func (p *Proxy) Programmed() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.programmed = true
}

// SetNode tells how the Node is now; nil for one that is gone. A node that is being deleted gets no new connections.
func (p *Proxy) SetNode(node *corev1.Node) {
	eligible := node != nil && node.DeletionTimestamp.IsZero()
	for i := 0; eligible && i < len(node.Spec.Taints); i++ {
		eligible = node.Spec.Taints[i].Key != toBeDeletedTaint
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.nodeEligible = eligible
}

// report is the answer to /healthz and /livez.
type report struct {
	LastUpdated  time.Time                        `json:"lastUpdated"`
	CurrentTime  time.Time                        `json:"currentTime"`
	NodeEligible *bool                            `json:"nodeEligible,omitempty"`
	Healthy      bool                             `json:"healthy"`
	Status       map[corev1.IPFamily]familyReport `json:"status,omitempty"`
}

type familyReport struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// Healthy says whether no change waits for longer than Timeout.
func (p *Proxy) Healthy() bool { return p.report().Healthy }

func (p *Proxy) report() report {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	r := report{CurrentTime: p.now(), Healthy: true, Status: map[corev1.IPFamily]familyReport{}}
	for family, updated := range p.updated {
		since, waiting := p.taken[family]
		if !waiting {
			since, waiting = p.queued[family]
		}
		healthy := !waiting || r.CurrentTime.Sub(since) < Timeout
		r.Status[family] = familyReport{LastUpdated: updated, Healthy: healthy}
		r.Healthy = r.Healthy && healthy
		if updated.After(r.LastUpdated) {
			r.LastUpdated = updated
		}
	}
	return r
}

// ServeHTTP answers /healthz and /livez. The first also says no for a node that is being deleted.
func (p *Proxy) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	report := p.report()
	healthy := report.Healthy
	switch request.URL.Path {
	case "/livez":
	case "/healthz":
		p.mutex.Lock()
		eligible := p.nodeEligible
		report.Healthy = report.Healthy && p.programmed
		p.mutex.Unlock()
		report.NodeEligible = &eligible
		healthy = report.Healthy && eligible
	default:
		http.NotFound(response, request)
		return
	}
	status := http.StatusServiceUnavailable
	if healthy {
		status = http.StatusOK
		// Old clients take an old time for a dead proxy, so a healthy one was always updated now.
		report.LastUpdated = report.CurrentTime
	}
	writeJSON(response, status, report)
	if p.Answered != nil {
		p.Answered(request.URL.Path, status)
	}
}

func writeJSON(response http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.Header().Set("X-Content-Type-Options", "nosniff")
	response.WriteHeader(status)
	_, _ = response.Write(text) // a client that went away needs no answer
}
