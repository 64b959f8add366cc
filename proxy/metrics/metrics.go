package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"
)

// Metrics are a proxy's. Methods may be called concurrently; durations are exported in seconds.
type Metrics struct {
	registry *prometheus.Registry

	sync, fullSync, partialSync, programming, conntrackSync *prometheus.HistogramVec
	lastSync, lastQueued, noLocalEndpoints                  *prometheus.GaugeVec
	rules, rulesLast                                        *prometheus.GaugeVec
	conntrackDeleted, healthz, livez                        *prometheus.CounterVec
	syncFailures, partialSyncFailures                       *prometheus.CounterVec // nil in modes without
	services, endpoints                                     changes
}

// changes count Services or EndpointSlices that were told of, each time that one was.
type changes struct {
	total   prometheus.Counter
	pending prometheus.Gauge
}

// New makes the metrics of a proxy in the mode, some of which only one mode has. Those that count what seldom happens are 0 for the
// families from the start on: an alert sees no increase of what was not there before.
func New(mode string, families ...corev1.IPFamily) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exponential := prometheus.ExponentialBuckets(0.001, 2, 15)

	m.sync = m.histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", exponential)
	m.programming = m.histogram("network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds", programmingBuckets())
	m.lastSync = m.gauge("sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced", "ip_family")
	m.lastQueued = m.gauge("sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued", "ip_family")
	m.noLocalEndpoints = m.gauge("sync_proxy_rules_no_local_endpoints_total", "Number of services with a Local traffic policy and no endpoints", "traffic_policy", "ip_family")
	m.services = m.changes("service", "Service")
	m.endpoints = m.changes("endpoint", "Endpoint")
	m.healthz = m.counter("proxy_healthz_total", "Cumulative proxy healthz HTTP status", "code")
	m.livez = m.counter("proxy_livez_total", "Cumulative proxy livez HTTP status", "code")
	m.fullSync = m.histogram("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", exponential)
	m.partialSync = m.histogram("sync_partial_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for partial resyncs", exponential)
	m.conntrackSync = m.histogram("conntrack_reconciler_sync_duration_seconds", "ReconcileConntrackFlowsLatency latency in seconds", exponential)
	m.conntrackDeleted = m.counter("conntrack_reconciler_deleted_entries_total", "Cumulative conntrack flows deleted by conntrack reconciler", "ip_family")
	switch mode {
	case "iptables":
		m.syncFailures = m.counter("sync_proxy_rules_iptables_restore_failures_total", "Cumulative proxy iptables restore failures", "ip_family")
		m.partialSyncFailures = m.counter("sync_proxy_rules_iptables_partial_restore_failures_total", "Cumulative proxy iptables partial restore failures", "ip_family")
		m.rules = m.gauge("sync_proxy_rules_iptables_total", "Total number of iptables rules owned by kube-proxy", "table", "ip_family")
		m.rulesLast = m.gauge("sync_proxy_rules_iptables_last", "Number of iptables rules written by kube-proxy in last sync", "table", "ip_family")
	case "ipvs":
		m.syncFailures = m.counter("sync_proxy_rules_iptables_restore_failures_total", "Cumulative proxy iptables restore failures", "ip_family")
	case "nftables":
		m.syncFailures = m.counter("sync_proxy_rules_nftables_sync_failures_total", "Cumulative proxy nftables sync failures", "ip_family")
	}
	for _, family := range families {
		for _, counter := range []*prometheus.CounterVec{m.syncFailures, m.partialSyncFailures, m.conntrackDeleted} {
			if counter != nil {
				counter.WithLabelValues(string(family))
			}
		}
		m.NoLocalEndpoints(family, 0, 0)
	}
	return m
}

// programmingBuckets are 0.25 and 0.5 s, whole seconds to 59 s, every 5 s to 115 s and every 30 s to 5 minutes.
func programmingBuckets() []float64 {
	buckets := prometheus.LinearBuckets(0.25, 0.25, 2)
	buckets = append(buckets, prometheus.LinearBuckets(1, 1, 59)...)
	buckets = append(buckets, prometheus.LinearBuckets(60, 5, 12)...)
	return append(buckets, prometheus.LinearBuckets(120, 30, 7)...)
}

const subsystem = "kubeproxy"

func (m *Metrics) histogram(name, help string, buckets []float64) *prometheus.HistogramVec {
	vector := prometheus.NewHistogramVec(prometheus.HistogramOpts{Subsystem: subsystem, Name: name, Help: help, Buckets: buckets}, []string{"ip_family"})
	m.registry.MustRegister(vector)
	return vector
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	vector := prometheus.NewGaugeVec(prometheus.GaugeOpts{Subsystem: subsystem, Name: name, Help: help}, labels)
	m.registry.MustRegister(vector)
	return vector
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vector := prometheus.NewCounterVec(prometheus.CounterOpts{Subsystem: subsystem, Name: name, Help: help}, labels)
	m.registry.MustRegister(vector)
	return vector
}

func (m *Metrics) changes(name, title string) changes {
	c := changes{
		total:   prometheus.NewCounter(prometheus.CounterOpts{Subsystem: subsystem, Name: "sync_proxy_rules_" + name + "_changes_total", Help: "Cumulative proxy rules " + title + " changes"}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{Subsystem: subsystem, Name: "sync_proxy_rules_" + name + "_changes_pending", Help: "Pending proxy rules " + title + " changes"}),
	}
	m.registry.MustRegister(c.total, c.pending)
	return c
}

// ServicesChanged counts Services that the API server told of, which are pending now.
func (m *Metrics) ServicesChanged(count int) { m.services.add(count) }

// SlicesChanged counts EndpointSlices that the API server told of, which are pending now.
func (m *Metrics) SlicesChanged(count int) { m.endpoints.add(count) }

func (c changes) add(count int) {
	c.total.Add(float64(count))
	c.pending.Add(float64(count))
}

// ChangesTaken says that so many changes of Services and of EndpointSlices are pending no longer.
func (m *Metrics) ChangesTaken(services, endpoints int) {
	m.services.pending.Sub(float64(services))
	m.endpoints.pending.Sub(float64(endpoints))
}

// Queued says that there is something to program for the families.
func (m *Metrics) Queued(families ...corev1.IPFamily) {
	for _, family := range families {
		m.lastQueued.WithLabelValues(string(family)).SetToCurrentTime()
	}
}

// Kind says how much a sync wrote.
type Kind int

const (
	// Full is a sync of all Services.
	Full Kind = iota
	// Partial is a sync of those that changed.
	Partial
)

// Synced counts a sync that succeeded and took so long. Triggered are the times at which what it programmed happened.
func (m *Metrics) Synced(family corev1.IPFamily, kind Kind, took time.Duration, triggered []time.Time) {
	label := string(family)
	m.sync.WithLabelValues(label).Observe(took.Seconds())
	if kind == Full {
		m.fullSync.WithLabelValues(label).Observe(took.Seconds())
	} else {
		m.partialSync.WithLabelValues(label).Observe(took.Seconds())
	}
	m.UpToDate(family)
	for _, at := range triggered {
		m.programming.WithLabelValues(label).Observe(time.Since(at).Seconds())
	}
}

// UpToDate says that what was queued for the family is programmed, if any of it needed a rule. When the last time of that is long
// before that of Queued, something hangs.
func (m *Metrics) UpToDate(family corev1.IPFamily) {
	m.lastSync.WithLabelValues(string(family)).SetToCurrentTime()
}

// SyncFailed counts a sync that did not succeed.
func (m *Metrics) SyncFailed(family corev1.IPFamily, kind Kind) {
	if m.syncFailures != nil {
		m.syncFailures.WithLabelValues(string(family)).Inc()
	}
	if m.partialSyncFailures != nil && kind == Partial {
		m.partialSyncFailures.WithLabelValues(string(family)).Inc()
	}
}

// Rules says how many rules of the table are in the kernel, and how many of them the last sync wrote.
func (m *Metrics) Rules(family corev1.IPFamily, table string, total, last int) {
	if m.rules != nil {
		m.rules.WithLabelValues(table, string(family)).Set(float64(total))
		m.rulesLast.WithLabelValues(table, string(family)).Set(float64(last))
	}
}

// NoLocalEndpoints says how many Service ports with a Local policy have endpoints, but none on this node.
func (m *Metrics) NoLocalEndpoints(family corev1.IPFamily, internal, external int) {
	m.noLocalEndpoints.WithLabelValues("internal", string(family)).Set(float64(internal))
	m.noLocalEndpoints.WithLabelValues("external", string(family)).Set(float64(external))
}

// ConntrackReconciled counts connection-tracking entries that were looked through and deleted.
func (m *Metrics) ConntrackReconciled(family corev1.IPFamily, took time.Duration, deleted int) {
	m.conntrackSync.WithLabelValues(string(family)).Observe(took.Seconds())
	m.conntrackDeleted.WithLabelValues(string(family)).Add(float64(deleted))
}

// HealthAnswered counts an answer to /healthz or /livez.
func (m *Metrics) HealthAnswered(path string, status int) {
	vector := m.livez
	if path == "/healthz" {
		vector = m.healthz
	}
	vector.WithLabelValues(strconv.Itoa(status)).Inc()
}
