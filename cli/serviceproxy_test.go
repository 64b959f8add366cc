package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"

	"github.com/kubelite/kubelite/internal/version"
	"github.com/kubelite/kubelite/proxy"
)

// parseServiceProxy is what the command line leads to; FILE in it stands for a file with the text.
func parseServiceProxy(t *testing.T, file string, arguments ...string) (proxy.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	options := serviceProxyOptions{settings: defaultProxySettings()}
	flags := pflag.NewFlagSet("service-proxy", pflag.ContinueOnError)
	options.addFlags(flags)
	for i := range arguments {
		arguments[i] = strings.ReplaceAll(arguments[i], "FILE", path)
	}
	if err := flags.Parse(arguments); err != nil {
		return proxy.Config{}, err
	}
	settings, err := options.read(flags)
	if err != nil {
		return proxy.Config{}, err
	}
	return proxyConfig(settings)
}

func TestServiceProxySettings(t *testing.T) {
	// What kubeadm writes.
	const kubeadm = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.32.0.0/16
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null, udpStreamTimeout: 0s, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}
kind: KubeProxyConfiguration
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: nftables
nftables: {masqueradeAll: true, masqueradeBit: 15, minSyncPeriod: 0s, syncPeriod: 30s}
nodePortAddresses: [primary, 10.0.0.0/8]
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}`
	for _, test := range []struct {
		about     string
		arguments []string
		expected  string
	}{
		{"defaults", nil, "iptables  [] [] false 14 false 0.0.0.0:10256 127.0.0.1:10249 [] 0s"},
		{"flags", []string{"--proxy-mode=ipvs", "--hostname-override= Node-1 ", "--cluster-cidr=10.244.0.0/16,fd00::/48", "--nodeport-addresses=primary,10.0.0.0/8",
			"--masquerade-all", "--iptables-masquerade-bit=13", "--iptables-localhost-nodeports=false", "--healthz-bind-address=", "--metrics-bind-address=0.0.0.0", "--bind-address=192.168.1.2", "--ipvs-sync-period=5s"},
			"ipvs node-1 [10.244.0.0/16 fd00::/48] [primary 10.0.0.0/8] true 13 true invalid AddrPort 0.0.0.0:10249 [192.168.1.2] 5s"},
		{"a file", []string{"--config=FILE"}, "nftables  [10.32.0.0/16] [primary 10.0.0.0/8] true 15 false 0.0.0.0:10256 127.0.0.1:10249 [] 30s"},
		{"flags over a file", []string{"--config=FILE", "--hostname-override=node-1", "--proxy-mode=iptables", "--nodeport-addresses=all,localhost", "--masquerade-all=false"},
			"iptables node-1 [10.32.0.0/16] [all localhost] false 14 false 0.0.0.0:10256 127.0.0.1:10249 [] 0s"},
	} {
		t.Run(test.about, func(t *testing.T) {
			c, err := parseServiceProxy(t, kubeadm, test.arguments...)
			if err != nil {
				t.Fatal(err)
			}
			actual := fmt.Sprint(c.Mode, " ", c.NodeName, " ", c.ClusterCIDRs, " ", c.NodePortAddresses, " ", c.MasqueradeAll, " ", *c.MasqueradeBit, " ", c.NoLocalhostNodePorts, " ",
				c.HealthzBindAddress, " ", c.MetricsBindAddress, " ", c.NodeIPs, " ", c.CheckInterval)
			if actual != test.expected {
				t.Errorf("%s\nexpected %s", actual, test.expected)
			}
		})
	}
}

// Command lines that start kube-proxy 1.37 start this one, too.
func TestServiceProxyTakesKubeProxysFlags(t *testing.T) {
	arguments := strings.Fields(`--bind-address=0.0.0.0 --bind-address-hard-fail --boot-id-file=/a --cluster-cidr=10.244.0.0/16 --config-sync-period=15m
		--conntrack-max-per-core=0 --conntrack-min=0 --conntrack-tcp-be-liberal --conntrack-tcp-timeout-close-wait=1h --conntrack-tcp-timeout-established=24h
		--conntrack-udp-timeout=0s --conntrack-udp-timeout-stream=0s --detect-local-mode=ClusterCIDR --feature-gates=A=true,B=false --healthz-bind-address=0.0.0.0:10256
		--healthz-port=10256 --hostname-override=node-1 --iptables-localhost-nodeports=false --iptables-masquerade-bit=14 --iptables-min-sync-period=1s
		--iptables-sync-period=30s --ipvs-exclude-cidrs=10.0.0.0/8 --ipvs-min-sync-period=1s --ipvs-scheduler=rr --ipvs-strict-arp --ipvs-sync-period=30s
		--ipvs-tcp-timeout=1s --ipvs-tcpfin-timeout=1s --ipvs-udp-timeout=1s --kube-api-burst=10 --kube-api-content-type=application/json --kube-api-qps=5
		--kubeconfig=/b --log-flush-frequency=5s --log-json-info-buffer-size=0 --log-json-split-stream=false --log-text-info-buffer-size=0 --log-text-split-stream=false
		--logging-format=json --machine-id-file=/c --masquerade-all --master=https://127.0.0.1 --metrics-bind-address=127.0.0.1:10249 --metrics-port=10249
		--nodeport-addresses=127.0.0.0/8 --oom-score-adj=-998 --pod-bridge-interface=cni0 --pod-interface-name-prefix=veth --profiling --proxy-mode=iptables
		--show-hidden-metrics-for-version=1.36 --v=2 --vmodule=a=1`)
	options := serviceProxyOptions{settings: defaultProxySettings()}
	flags := pflag.NewFlagSet("service-proxy", pflag.ContinueOnError)
	options.addFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	settings, err := options.read(flags)
	if err != nil {
		t.Fatal(err)
	}
	const unserved = "[bindAddressHardFail clientConnection.burst clientConnection.qps detectLocal enableProfiling featureGates ipvs.excludeCIDRs " +
		"ipvs.tcpFinTimeout ipvs.tcpTimeout ipvs.udpTimeout logging.format nodePortAddresses of localhost oomScoreAdj]"
	if actual := fmt.Sprint(unservedSettings(settings)); actual != unserved {
		t.Errorf("unserved %s\nexpected %s", actual, unserved)
	}
	if names := unservedSettings(defaultProxySettings()); len(names) > 0 {
		t.Errorf("the defaults are unserved: %s", names)
	}
}

// Only mode iptables serves node ports on localhost: who asks another one for it hears that.
func TestServiceProxyNodePortsOnLocalhost(t *testing.T) {
	for _, test := range []struct {
		mode      proxy.Mode
		addresses string
		expected  string
	}{
		{proxy.IPTables, "localhost", "[]"},
		{proxy.IPTables, "127.0.0.0/8", "[]"},
		{proxy.NFTables, "primary", "[]"},
		{proxy.NFTables, "0.0.0.0/0", "[]"},
		{proxy.NFTables, "localhost", "[nodePortAddresses of localhost]"},
		{proxy.Userspace, "192.168.1.0/24,localhost", "[nodePortAddresses of localhost]"},
		{proxy.IPVS, "127.0.0.1/32", "[nodePortAddresses of localhost]"},
		{proxy.NFTables, "::1/128", "[nodePortAddresses of localhost]"},
	} {
		settings := defaultProxySettings()
		settings.Mode, settings.NodePortAddresses = v1alpha1.ProxyMode(test.mode), strings.Split(test.addresses, ",")
		if actual := fmt.Sprint(unservedSettings(settings)); actual != test.expected {
			t.Errorf("mode %s, %s: %s, expected %s", test.mode, test.addresses, actual, test.expected)
		}
	}
}

// What is written can be read, and means the same.
func TestServiceProxyWritesConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "written.yaml")
	given := []string{"--proxy-mode=nftables", "--masquerade-all", "--iptables-masquerade-bit=15", "--iptables-sync-period=5s", "--hostname-override=node-1",
		"--nodeport-addresses=primary,10.0.0.0/8", "--cluster-cidr=10.244.0.0/16", "--feature-gates=A=true"}
	command := newServiceProxyCommand()
	command.SetArgs(append([]string{"--write-config-to=" + path}, given...))
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := parseServiceProxy(t, "", given...)
	if err != nil {
		t.Fatal(err)
	}
	actual, err := parseServiceProxy(t, string(written), "--config=FILE")
	if err != nil || !reflect.DeepEqual(actual, expected) {
		t.Errorf("%v: %+v\nexpected %+v\n%s", err, actual, expected, written)
	}
}

func TestServiceProxyVersionAndHint(t *testing.T) {
	for argument, expected := range map[string]string{
		"--version": "kubelite v" + version.Kubelite + " (Kubernetes " + version.Kubernetes + ")\n",
		"--fast":    "unknown flag: --fast: see `service-proxy --help`",
	} {
		var out strings.Builder
		command := newServiceProxyCommand()
		command.SilenceErrors, command.SilenceUsage = true, true
		command.SetOut(&out)
		command.SetArgs([]string{argument})
		if err := command.Execute(); err != nil {
			out.WriteString(err.Error())
		}
		if out.String() != expected {
			t.Errorf("%s: %q, expected %q", argument, out.String(), expected)
		}
	}
}

func TestServiceProxyMistakes(t *testing.T) {
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	for _, test := range []struct{ file, argument, expected string }{
		{"", "--proxy-mode=fast", `--proxy-mode (mode): there is no "fast": choose one of [iptables nftables ipvs userspace]`},
		{"", "--cluster-cidr=10.244.0.0", `--cluster-cidr (clusterCIDR): "10.244.0.0" is no network, as 10.244.0.0/16`},
		{"", "--cluster-cidr=10.1.0.0/16,10.2.0.0/16", "two networks of a family"},
		{"", "--nodeport-addresses=eth0", `--nodeport-addresses (nodePortAddresses): "eth0" is neither a network, as 192.168.1.0/24, nor one of primary, localhost, all`},
		{"", "--nodeport-addresses=primary,10.0.0.0/8,primary", `--nodeport-addresses (nodePortAddresses): "primary" is given twice`},
		{head + "nodePortAddresses: [all, all]", "--config=FILE", `--nodeport-addresses (nodePortAddresses): "all" is given twice`},
		{"", "--iptables-masquerade-bit=32", "--iptables-masquerade-bit (masqueradeBit): 32 is not one of 0 to 31"},
		{"", "--bind-address=node-1", `--bind-address (bindAddress): "node-1" is no address`},
		{"", "--healthz-bind-address=:10256", `--healthz-bind-address (healthzBindAddress): ":10256" is no address and port, as 127.0.0.1:10256`},
		{"", "--detect-local-mode=BridgeInterface", "give --cluster-cidr"},
		{head + "mode: ipvs\nipvs: {scheduler: fair}", "--config=FILE", `--ipvs-scheduler (ipvs.scheduler): there is no "fair": choose one of [rr wrr`},
		{"", "--conntrack-max-per-core=-5", "--conntrack-max-per-core (conntrack.maxPerCore): -5 is less than nothing"},
		{"", "--conntrack-min=-4", "--conntrack-min (conntrack.min): -4 is less than nothing"},
		{"", "--conntrack-tcp-timeout-established=-5s", "--conntrack-tcp-timeout-established (conntrack.tcpEstablishedTimeout): -5s is less than nothing"},
		{"", "--conntrack-tcp-timeout-close-wait=-5s", "--conntrack-tcp-timeout-close-wait (conntrack.tcpCloseWaitTimeout): -5s is less than nothing"},
		{"", "--conntrack-udp-timeout=-5s", "--conntrack-udp-timeout (conntrack.udpTimeout): -5s is less than nothing"},
		{head + "conntrack: {udpStreamTimeout: -5s}", "--config=FILE", "--conntrack-udp-timeout-stream (conntrack.udpStreamTimeout): -5s is less than nothing"},
		{"", "--iptables-sync-period=-1s", "--iptables-sync-period (syncPeriod): -1s is less than nothing"},
		{head + "mode: nftables\nnftables: {syncPeriod: -1s}", "--config=FILE", "--iptables-sync-period (syncPeriod): -1s is less than nothing"},
		{"kind: KubeProxyConfiguration", "--config=FILE", "not a KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1"},
		{head + "modus: iptables", "--config=FILE", `unknown field "modus"`},
		{head + "mode: kernelspace", "--config=FILE", `there is no "kernelspace"`},
		{"", "--config=/nowhere", "--config: open /nowhere: no such file or directory"},
	} {
		if _, err := parseServiceProxy(t, test.file, test.argument); err == nil || !strings.Contains(err.Error(), test.expected) {
			t.Errorf("%s: %v, expected %s", test.argument, err, test.expected)
		}
	}
}
