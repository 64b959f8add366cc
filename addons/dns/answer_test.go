package dns

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"
)

const clusterObjects = `
kind: Service
metadata: {namespace: default, name: kubernetes}
spec: {type: ClusterIP, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{name: https, protocol: TCP, port: 443}]}
---
kind: Service
metadata: {namespace: kube-system, name: kube-dns}
spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ports: [{name: dns, protocol: UDP, port: 53}, {name: dns-tcp, protocol: TCP, port: 53}]}
---
kind: Service
metadata: {namespace: default, name: web}
spec: {clusterIP: 10.96.1.1, clusterIPs: [10.96.1.1], ports: [{protocol: TCP, port: 80}]}
---
kind: EndpointSlice
addressType: IPv4
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{name: "", protocol: TCP, port: 8080}]
endpoints: [{addresses: [10.244.0.9]}]
---
kind: Service
metadata: {namespace: default, name: peers}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: http, protocol: TCP, port: 80}, {name: gossip, protocol: UDP, port: 7946}]}
---
kind: EndpointSlice
addressType: IPv4
metadata: {namespace: default, name: peers-1, labels: {kubernetes.io/service-name: peers}}
ports: [{name: http, protocol: TCP, port: 8080}]
endpoints:
- {addresses: [10.244.0.3]}
- {addresses: [10.244.1.3], hostname: peer-0}
- {addresses: [10.244.1.4], hostname: peer-1, conditions: {ready: false}}
---
kind: EndpointSlice
addressType: IPv4
metadata: {namespace: default, name: peers-2, labels: {kubernetes.io/service-name: peers}}
ports: [{name: http, protocol: TCP, port: 8080}]
endpoints: [{addresses: [10.244.0.3]}]
---
kind: Service
metadata: {namespace: default, name: both}
spec: {clusterIP: 10.96.1.2, clusterIPs: [10.96.1.2, "fd00:10:96::77"], ports: [{name: http, protocol: TCP, port: 80}]}
---
kind: Service
metadata: {namespace: default, name: lonely}
spec: {clusterIP: None, ports: [{name: http, protocol: TCP, port: 80}]}
---
kind: Service
metadata: {namespace: default, name: outside}
spec: {type: ExternalName, externalName: www.example.com}
---
kind: Service
metadata: {namespace: default, name: alias}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
kind: Service
metadata: {namespace: default, name: dangling}
spec: {type: ExternalName, externalName: nothing.default.svc.cluster.local}
---
kind: Service
metadata: {namespace: default, name: ouroboros}
spec: {type: ExternalName, externalName: Ouroboros.default.svc.cluster.local.}
`

func newRecords(t testing.TB, text string) records {
	t.Helper()
	r := records{
		services: cache.NewIndexer(cache.MetaNamespaceKeyFunc, serviceIndexers),
		slices:   cache.NewIndexer(cache.MetaNamespaceKeyFunc, sliceIndexers),
	}
	for _, document := range strings.Split(text, "\n---\n") {
		var object any = &corev1.Service{}
		indexer := r.services
		if strings.Contains(document, "kind: EndpointSlice") {
			object, indexer = &discoveryv1.EndpointSlice{}, r.slices
		}
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		stripped, err := strip(object)
		if err != nil {
			t.Fatal(err)
		}
		if err := indexer.Add(stripped); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func lines(section string, rrs []dns.RR) []string {
	var all []string
	for _, rr := range rrs {
		all = append(all, section+strings.Join(strings.Fields(rr.String()), " "))
	}
	return all
}

func TestAnswer(t *testing.T) {
	r := newRecords(t, clusterObjects)
	z := zone{domain: "cluster.local.", ttl: 30}
	const negative = "authority: cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"
	nodata, nxdomain := []string{negative}, []string{"NXDOMAIN", negative}

	for _, test := range []struct {
		about    string
		question string
		expected []string
	}{
		{"2.2 version", "dns-version.cluster.local. TXT", []string{`dns-version.cluster.local. 30 IN TXT "1.1.0"`}},
		{"2.3.1 A of a ClusterIP", "kubernetes.default.svc.cluster.local. A", []string{"kubernetes.default.svc.cluster.local. 30 IN A 10.96.0.1"}},
		{"the asked spelling comes back", "KuberNetes.default.SVC.cluster.local. A", []string{"KuberNetes.default.SVC.cluster.local. 30 IN A 10.96.0.1"}},
		{"AAAA of an IPv4 Service", "kubernetes.default.svc.cluster.local. AAAA", nodata},
		{"2.3.2 SRV of a named port", "_https._tcp.kubernetes.default.svc.cluster.local. SRV", []string{
			"_https._tcp.kubernetes.default.svc.cluster.local. 30 IN SRV 0 100 443 kubernetes.default.svc.cluster.local.",
			"extra: kubernetes.default.svc.cluster.local. 30 IN A 10.96.0.1",
		}},
		{"SRV of the Service: all ports", "kube-dns.kube-system.svc.cluster.local. SRV", []string{
			"extra: kube-dns.kube-system.svc.cluster.local. 30 IN A 10.96.0.10",
			"kube-dns.kube-system.svc.cluster.local. 30 IN SRV 0 50 53 kube-dns.kube-system.svc.cluster.local.",
			"kube-dns.kube-system.svc.cluster.local. 30 IN SRV 0 50 53 kube-dns.kube-system.svc.cluster.local.",
		}},
		{"A where only an SRV is", "_https._tcp.kubernetes.default.svc.cluster.local. A", nodata},
		{"a protocol with ports", "_tcp.kubernetes.default.svc.cluster.local. SRV", nodata},
		{"a protocol without ports", "_udp.kubernetes.default.svc.cluster.local. SRV", nxdomain},
		{"an unknown port", "_http._tcp.kubernetes.default.svc.cluster.local. SRV", nxdomain},
		{"an unnamed port has no name", "_._tcp.web.default.svc.cluster.local. SRV", nxdomain},
		{"2.3.3 PTR of a ClusterIP", "1.0.96.10.in-addr.arpa. PTR", []string{"1.0.96.10.in-addr.arpa. 30 IN PTR kubernetes.default.svc.cluster.local."}},
		{"A of an address's name", "1.0.96.10.in-addr.arpa. A", []string{strings.Replace(negative, "cluster.local. 30", "in-addr.arpa. 30", 1)}},
		{"PTR of an address without a name", "99.0.244.10.in-addr.arpa. PTR", []string{"foreign"}},
		{"A of a dual-stack Service", "both.default.svc.cluster.local. A", []string{"both.default.svc.cluster.local. 30 IN A 10.96.1.2"}},
		{"AAAA of a dual-stack Service", "both.default.svc.cluster.local. AAAA", []string{"both.default.svc.cluster.local. 30 IN AAAA fd00:10:96::77"}},
		{"PTR of an IPv6 ClusterIP", "7.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa. PTR", []string{
			"7.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa. 30 IN PTR both.default.svc.cluster.local.",
		}},
		{"PTR of half an IPv6 address", "0.0.d.f.ip6.arpa. PTR", []string{"foreign"}},
		{"PTR of half an address", "96.10.in-addr.arpa. PTR", []string{"foreign"}},

		{"2.4.1 A of a headless Service: ready ones, once each", "peers.default.svc.cluster.local. A", []string{
			"peers.default.svc.cluster.local. 30 IN A 10.244.0.3",
			"peers.default.svc.cluster.local. 30 IN A 10.244.1.3",
		}},
		{"A of an endpoint with a hostname", "peer-0.peers.default.svc.cluster.local. A", []string{"peer-0.peers.default.svc.cluster.local. 30 IN A 10.244.1.3"}},
		{"A of one without", "10-244-0-3.peers.default.svc.cluster.local. A", []string{"10-244-0-3.peers.default.svc.cluster.local. 30 IN A 10.244.0.3"}},
		{"an endpoint that is not ready", "peer-1.peers.default.svc.cluster.local. A", nxdomain},
		{"AAAA of an endpoint", "peer-0.peers.default.svc.cluster.local. AAAA", nodata},
		{"2.4.2 SRV of a headless Service", "_http._tcp.peers.default.svc.cluster.local. SRV", []string{
			"_http._tcp.peers.default.svc.cluster.local. 30 IN SRV 0 50 8080 10-244-0-3.peers.default.svc.cluster.local.",
			"_http._tcp.peers.default.svc.cluster.local. 30 IN SRV 0 50 8080 peer-0.peers.default.svc.cluster.local.",
			"extra: 10-244-0-3.peers.default.svc.cluster.local. 30 IN A 10.244.0.3",
			"extra: peer-0.peers.default.svc.cluster.local. 30 IN A 10.244.1.3",
		}},
		{"2.4.3 PTR of an endpoint with a hostname", "3.1.244.10.in-addr.arpa. PTR", []string{"3.1.244.10.in-addr.arpa. 30 IN PTR peer-0.peers.default.svc.cluster.local."}},
		{"PTR of an endpoint without", "3.0.244.10.in-addr.arpa. PTR", []string{"3.0.244.10.in-addr.arpa. 30 IN PTR 10-244-0-3.peers.default.svc.cluster.local."}},
		{"headless without endpoints", "lonely.default.svc.cluster.local. A", nodata},

		{"2.5 ExternalName", "outside.default.svc.cluster.local. A", []string{
			"chase www.example.com.", "outside.default.svc.cluster.local. 30 IN CNAME www.example.com.",
		}},
		{"CNAME itself", "outside.default.svc.cluster.local. CNAME", []string{"outside.default.svc.cluster.local. 30 IN CNAME www.example.com."}},
		{"below an ExternalName", "x.outside.default.svc.cluster.local. A", nxdomain},
		{"ExternalName within the zone", "alias.default.svc.cluster.local. A", []string{
			"alias.default.svc.cluster.local. 30 IN CNAME web.default.svc.cluster.local.",
			"web.default.svc.cluster.local. 30 IN A 10.96.1.1",
		}},
		{"the same, nothing of the type", "alias.default.svc.cluster.local. AAAA", []string{
			"alias.default.svc.cluster.local. 30 IN CNAME web.default.svc.cluster.local.", negative,
		}},
		{"ExternalName of nothing", "dangling.default.svc.cluster.local. A", []string{
			"NXDOMAIN", negative, "dangling.default.svc.cluster.local. 30 IN CNAME nothing.default.svc.cluster.local.",
		}},
		{"ExternalName of itself", "ouroboros.default.svc.cluster.local. A", []string{"SERVFAIL"}},

		{"Pod", "10-244-0-2.default.pod.cluster.local. A", []string{"10-244-0-2.default.pod.cluster.local. 30 IN A 10.244.0.2"}},
		{"Pod, other type", "10-244-0-2.default.pod.cluster.local. AAAA", nodata},
		{"Pod with an IPv6 address", "fd00--1.default.pod.cluster.local. AAAA", []string{"fd00--1.default.pod.cluster.local. 30 IN AAAA fd00::1"}},
		{"Pod without an address", "nginx.default.pod.cluster.local. A", nxdomain},
		{"below a Pod", "x.10-244-0-2.default.pod.cluster.local. A", nxdomain},

		{"an unknown Service", "nothing.default.svc.cluster.local. A", nxdomain},
		{"a Service in another namespace", "web.kube-system.svc.cluster.local. A", nxdomain},
		{"too deep", "a.b.c.web.default.svc.cluster.local. A", nxdomain},
		{"empty non-terminal: a namespace", "default.svc.cluster.local. A", nodata},
		{"an unknown namespace", "nowhere.svc.cluster.local. A", nxdomain},
		{"empty non-terminal: svc", "svc.cluster.local. A", nodata},
		{"empty non-terminal: pod", "pod.cluster.local. A", nodata},
		{"empty non-terminal: a namespace of Pods", "default.pod.cluster.local. A", nodata},
		{"empty non-terminal: dns", "dns.cluster.local. A", nodata},
		{"neither svc nor pod", "default.cluster.local. A", nxdomain},
		{"the search list's wrong turn", "www.example.com.cluster.local. A", nxdomain},

		{"SOA", "cluster.local. SOA", []string{"cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"}},
		{"NS", "cluster.local. NS", []string{"cluster.local. 30 IN NS ns.dns.cluster.local.", "extra: ns.dns.cluster.local. 30 IN A 10.96.0.10"}},
		{"the zone has no address", "cluster.local. A", nodata},
		{"the name server's address", "ns.dns.cluster.local. A", []string{"ns.dns.cluster.local. 30 IN A 10.96.0.10"}},
		{"everything", "web.default.svc.cluster.local. ANY", []string{`web.default.svc.cluster.local. 30 IN HINFO "RFC8482" ""`}},
		{"everything of nothing", "nothing.default.svc.cluster.local. ANY", nxdomain},

		{"outside", "www.example.com. A", []string{"foreign"}},
		{"looks like the zone", "mycluster.local. A", []string{"foreign"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			name, rrtype, _ := strings.Cut(test.question, " ")
			found := z.answer(dns.Question{Name: name, Qtype: dns.StringToType[rrtype], Qclass: dns.ClassINET}, r)
			actual := lines("", found.answer)
			actual = append(actual, lines("authority: ", found.authority)...)
			actual = append(actual, lines("extra: ", found.extra)...)
			if found.rcode != dns.RcodeSuccess {
				actual = append(actual, dns.RcodeToString[found.rcode])
			}
			if found.foreign {
				actual = append(actual, "foreign")
			}
			if found.chase != "" {
				actual = append(actual, "chase "+found.chase)
			}
			slices.Sort(actual)
			expected := slices.Sorted(slices.Values(test.expected))
			if !slices.Equal(actual, expected) {
				t.Errorf("%s\nanswered:\n  %s\nexpected:\n  %s", test.question, strings.Join(actual, "\n  "), strings.Join(expected, "\n  "))
			}
		})
	}
}
