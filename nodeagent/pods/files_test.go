package pods

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

func TestResolvConf(t *testing.T) {
	host := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(host, []byte("# comment\nnameserver 192.0.2.1\nsearch school.example\noptions edns0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dns := DNS{Servers: []string{"10.96.0.10"}, Domain: "cluster.local", HostConfig: host}
	for _, test := range []struct {
		name string
		spec v1.PodSpec
		want string
	}{
		{"cluster first", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst},
			"search shop.svc.cluster.local svc.cluster.local cluster.local school.example\nnameserver 10.96.0.10\noptions ndots:5\n"},
		{"host network", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, HostNetwork: true}, "search school.example\nnameserver 192.0.2.1\noptions edns0\n"},
		{"host network, cluster DNS", v1.PodSpec{DNSPolicy: v1.DNSClusterFirstWithHostNet, HostNetwork: true},
			"search shop.svc.cluster.local svc.cluster.local cluster.local school.example\nnameserver 10.96.0.10\noptions ndots:5\n"},
		{"default", v1.PodSpec{DNSPolicy: v1.DNSDefault}, "search school.example\nnameserver 192.0.2.1\noptions edns0\n"},
		{"none", v1.PodSpec{DNSPolicy: v1.DNSNone, DNSConfig: &v1.PodDNSConfig{Nameservers: []string{"192.0.2.7"}, Searches: []string{"a.b"}}},
			"search a.b\nnameserver 192.0.2.7\n"},
		{"option replaced", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, DNSConfig: &v1.PodDNSConfig{Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr.To("2")}, {Name: "rotate"}}}},
			"search shop.svc.cluster.local svc.cluster.local cluster.local school.example\nnameserver 10.96.0.10\noptions ndots:2 rotate\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := dns.resolvConf(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: test.spec})
			if err != nil || got != test.want {
				t.Errorf("got %q, %v\nwant %q", got, err, test.want)
			}
		})
	}
}

func TestHostsFile(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop"}, Spec: v1.PodSpec{
		Hostname: "web", Subdomain: "front", HostAliases: []v1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"a", "b"}}}}}
	got, err := DNS{Domain: "school.test"}.hostsFile(pod, []string{"10.244.0.7", "fd00:f4::7"}, "node-1")
	const want = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n" +
		"fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n10.244.0.7\tweb.front.shop.svc.school.test\tweb\nfd00:f4::7\tweb.front.shop.svc.school.test\tweb\n\n# Entries added by HostAliases.\n192.0.2.9\ta\tb\n"
	if err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNodename(t *testing.T) {
	dns := DNS{Domain: "school.test"}
	for _, test := range []struct {
		name, want, wantError string
		spec                  v1.PodSpec
	}{
		{name: "the Pod's", want: "web-0"},
		{name: "own", want: "web", spec: v1.PodSpec{Hostname: "web", Subdomain: "front"}},
		{name: "with domain", want: "web-0.front.shop.svc.school.test", spec: v1.PodSpec{Subdomain: "front", SetHostnameAsFQDN: ptr.To(true)}},
		{name: "no domain to add", want: "web-0", spec: v1.PodSpec{SetHostnameAsFQDN: ptr.To(true)}},
		{name: "override", want: "my.own.name", spec: v1.PodSpec{HostnameOverride: ptr.To("my.own.name"), Subdomain: "front"}},
		{name: "the node's", want: "node-1", spec: v1.PodSpec{HostNetwork: true}},
		{name: "cut", want: strings.Repeat("a", 62), spec: v1.PodSpec{HostnameOverride: ptr.To(strings.Repeat("a", 62) + ".b")}},
		{name: "too long", spec: v1.PodSpec{Hostname: strings.Repeat("a", 60), Subdomain: "front", SetHostnameAsFQDN: ptr.To(true)},
			wantError: "failed to construct FQDN from pod hostname and cluster domain, FQDN " + strings.Repeat("a", 60) +
				".front.shop.svc.school.test is too long (64 characters is the max, 87 characters requested)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := dns.nodename(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop"}, Spec: test.spec}, "node-1")
			said := ""
			if err != nil {
				said = err.Error()
			}
			if got != test.want || said != test.wantError {
				t.Errorf("got %q, %q", got, said)
			}
		})
	}
}

func TestSecurity(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"}, Spec: v1.PodSpec{SecurityContext: &v1.PodSecurityContext{
		RunAsUser: ptr.To[int64](1000), RunAsGroup: ptr.To[int64](2000), FSGroup: ptr.To[int64](3000), SupplementalGroups: []int64{4000}}}}
	var config runtime.ContainerConfig
	err := applySecurity(&config, pod, &v1.Container{Name: "c", SecurityContext: &v1.SecurityContext{
		RunAsUser: ptr.To[int64](1001), AllowPrivilegeEscalation: ptr.To(false), Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}, Add: []v1.Capability{"CAP_NET_ADMIN"}}}}, "app")
	if err != nil || config.User != "1001:2000" || len(config.Groups) != 2 || !config.NoNewPrivileges || config.AddCapabilities[0] != "NET_ADMIN" {
		t.Errorf("%+v %v", config, err)
	}
	for _, test := range []struct {
		user      *int64
		imageUser string
		want      string
	}{
		{nil, "", `container has runAsNonRoot and image will run as root (pod: "p_n(u)", container: c)`},
		{nil, "0:5", `container has runAsNonRoot and image will run as root (pod: "p_n(u)", container: c)`},
		{nil, "app", `container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root (pod: "p_n(u)", container: c)`},
		{ptr.To[int64](0), "5", `container's runAsUser breaks non-root policy (pod: "p_n(u)", container: c)`},
		{nil, "5", ""},
	} {
		got := ""
		if err := verifyNonRoot(pod, &v1.Container{Name: "c"}, test.user, test.imageUser); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("user %v, image %q: got %q, want %q", test.user, test.imageUser, got, test.want)
		}
	}
}

func TestSignalNumber(t *testing.T) {
	for name, want := range map[string]int{"": 15, "SIGQUIT": 3, "QUIT": 3, "9": 9, "nonsense": 15} {
		if got := signalNumber(name); got != want {
			t.Errorf("%q: got %d, want %d", name, got, want)
		}
	}
}
