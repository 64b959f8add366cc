package metrics

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func get(m *Metrics, mode, path string) string {
	recorder := httptest.NewRecorder()
	m.Handler(mode).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder.Body.String()
}

// What dashboards made for kube-proxy look for.
func TestNames(t *testing.T) {
	m := New("iptables")
	m.Queued(corev1.IPv4Protocol)
	m.ServicesChanged(1)
	m.SlicesChanged(2)
	m.ChangesTaken(1, 1)
	m.Synced(corev1.IPv4Protocol, Full, 20*time.Millisecond, nil)
	m.Synced(corev1.IPv4Protocol, Partial, 3*time.Millisecond, []time.Time{time.Now().Add(-2 * time.Second)})
	m.SyncFailed(corev1.IPv4Protocol, Partial)
	m.Rules(corev1.IPv4Protocol, "nat", 40, 4)
	m.NoLocalEndpoints(corev1.IPv4Protocol, 1, 2)
	m.ConntrackReconciled(corev1.IPv4Protocol, time.Millisecond, 7)
	m.HealthAnswered("/healthz", 503)
	m.HealthAnswered("/livez", 200)
	lines := strings.Split(get(m, "iptables", "/metrics"), "\n")
	for _, line := range []string{
		`kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.004"} 1`,
		`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 2`,
		`kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="2"} 0`,
		`kubeproxy_network_programming_duration_seconds_bucket{ip_family="IPv4",le="3"} 1`,
		`kubeproxy_sync_proxy_rules_service_changes_total 1`,
		`kubeproxy_sync_proxy_rules_service_changes_pending 0`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_total 2`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_pending 1`,
		`kubeproxy_sync_proxy_rules_iptables_total{ip_family="IPv4",table="nat"} 40`,
		`kubeproxy_sync_proxy_rules_iptables_last{ip_family="IPv4",table="nat"} 4`,
		`kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"} 1`,
		`kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family="IPv4"} 1`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 2`,
		`kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 7`,
		`kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_proxy_healthz_total{code="503"} 1`,
		`kubeproxy_proxy_livez_total{code="200"} 1`,
		`# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge`,
		`# TYPE kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds gauge`,
	} {
		if !slices.Contains(lines, line) {
			t.Errorf("%s is missing", line)
		}
	}
	if mode, health := get(m, "iptables", "/proxyMode"), get(m, "iptables", "/healthz"); mode != "iptables" || health != "ok" {
		t.Errorf("/proxyMode %q, /healthz %q", mode, health)
	}
}

// What seldom happens is there before it does.
func TestZeroFromTheStart(t *testing.T) {
	text := get(New("iptables", corev1.IPv4Protocol, corev1.IPv6Protocol), "iptables", "/metrics")
	for _, line := range []string{
		`kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"} 0`,
		`kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family="IPv6"} 0`,
		`kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 0`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv6",traffic_policy="internal"} 0`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%s is missing", line)
		}
	}
	if text := get(New("nftables", corev1.IPv4Protocol), "nftables", "/metrics"); !strings.Contains(text, `kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 0`) {
		t.Error(text)
	}
}

func TestModesHaveTheirOwn(t *testing.T) {
	m := New("nftables")
	m.SyncFailed(corev1.IPv6Protocol, Partial)
	m.Rules(corev1.IPv6Protocol, "kubelite", 1, 1)
	text := get(m, "nftables", "/metrics")
	if !strings.Contains(text, `kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv6"} 1`) || strings.Contains(text, "_iptables_") {
		t.Error(text)
	}
}
