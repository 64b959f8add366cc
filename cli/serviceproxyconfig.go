package cli

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubelite/kubelite/proxy"
	"github.com/kubelite/kubelite/proxy/conntrack"
	"github.com/kubelite/kubelite/proxy/ipvs"
)

// defaultProxySettings are kube-proxy's.
func defaultProxySettings() v1alpha1.KubeProxyConfiguration {
	var settings v1alpha1.KubeProxyConfiguration
	fillProxySettings(&settings)
	return settings
}

// defaultOOMScoreAdj is what kube-proxy gives itself. It is not served, so that only another one is worth a word.
const defaultOOMScoreAdj = -999

// fillProxySettings fills in what a file left out.
func fillProxySettings(s *v1alpha1.KubeProxyConfiguration) {
	s.Mode = cmp.Or(s.Mode, v1alpha1.ProxyMode(proxy.IPTables))
	s.IPVS.Scheduler = cmp.Or(s.IPVS.Scheduler, "rr")
	s.HealthzBindAddress = cmp.Or(s.HealthzBindAddress, netip.AddrPortFrom(netip.IPv4Unspecified(), proxy.HealthzPort).String())
	s.MetricsBindAddress = cmp.Or(s.MetricsBindAddress, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), proxy.MetricsPort).String())
	fill(&s.IPTables.MasqueradeBit, 14)
	fill(&s.IPTables.LocalhostNodePorts, true)
	fill(&s.OOMScoreAdj, defaultOOMScoreAdj)
	fill(&s.NFTables.MasqueradeBit, *s.IPTables.MasqueradeBit)
	fill(&s.Conntrack.MaxPerCore, 32*1024)
	fill(&s.Conntrack.Min, 128*1024)
	fill(&s.Conntrack.TCPEstablishedTimeout, metav1.Duration{Duration: 24 * time.Hour})
	fill(&s.Conntrack.TCPCloseWaitTimeout, metav1.Duration{Duration: time.Hour})
}

func fill[T any](field **T, value T) {
	if *field == nil {
		*field = ptr.To(value)
	}
}

// read returns the settings of the file, if there is one, with those flags over them that are given.
func (o serviceProxyOptions) read(given *pflag.FlagSet) (v1alpha1.KubeProxyConfiguration, error) {
	if o.file == "" {
		return o.settings, nil
	}
	text, err := os.ReadFile(o.file)
	if err != nil {
		return o.settings, fmt.Errorf("--config: %w", err)
	}
	var read serviceProxyOptions
	s := &read.settings
	if err := yaml.UnmarshalStrict(text, s); err != nil {
		return o.settings, fmt.Errorf("--config %s: %w", o.file, err)
	}
	if s.APIVersion != v1alpha1.SchemeGroupVersion.String() || s.Kind != "KubeProxyConfiguration" {
		return o.settings, fmt.Errorf("--config %s: it holds a %q of %q, not a KubeProxyConfiguration of %s", o.file, s.Kind, s.APIVersion, v1alpha1.SchemeGroupVersion)
	}
	fillProxySettings(s)
	if given.Changed("proxy-mode") { // it decides which of the modes' settings count
		s.Mode = o.settings.Mode
	}
	if proxy.Mode(s.Mode) == proxy.NFTables {
		s.IPTables.MasqueradeBit, s.IPTables.MasqueradeAll, s.IPTables.SyncPeriod = s.NFTables.MasqueradeBit, s.NFTables.MasqueradeAll, s.NFTables.SyncPeriod
	}
	over := pflag.NewFlagSet("", pflag.ContinueOnError)
	read.addFlags(over)
	given.Visit(func(flag *pflag.Flag) {
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			err = cmp.Or(err, over.Lookup(flag.Name).Value.(pflag.SliceValue).Replace(list.GetSlice()))
		} else if over.Lookup(flag.Name) != nil {
			err = cmp.Or(err, over.Set(flag.Name, flag.Value.String()))
		}
	})
	return read.settings, err
}

// proxyConfig turns kube-proxy's settings into the proxy's. Where it is an error, it names the flag and, in brackets, the file's field.
func proxyConfig(s v1alpha1.KubeProxyConfiguration) (proxy.Config, error) {
	bit := int(*s.IPTables.MasqueradeBit)
	config := proxy.Config{
		NodeName:             strings.ToLower(strings.TrimSpace(s.HostnameOverride)),
		Mode:                 proxy.Mode(s.Mode),
		IPVSScheduler:        s.IPVS.Scheduler,
		IPVSStrictARP:        s.IPVS.StrictARP,
		NodePortAddresses:    s.NodePortAddresses,
		NoLocalhostNodePorts: !*s.IPTables.LocalhostNodePorts,
		MasqueradeAll:        s.IPTables.MasqueradeAll,
		MasqueradeBit:        &bit,
		CheckInterval:        s.IPTables.SyncPeriod.Duration,
		Conntrack: conntrack.Limits{
			MaxPerCore:     int(*s.Conntrack.MaxPerCore),
			Min:            int(*s.Conntrack.Min),
			TCPEstablished: s.Conntrack.TCPEstablishedTimeout.Duration,
			TCPCloseWait:   s.Conntrack.TCPCloseWaitTimeout.Duration,
			UDP:            s.Conntrack.UDPTimeout.Duration,
			UDPStream:      s.Conntrack.UDPStreamTimeout.Duration,
			TCPBeLiberal:   s.Conntrack.TCPBeLiberal,
		},
	}
	checkFlag := "--iptables-sync-period" // of all modes but one
	if config.Mode == proxy.IPVS {
		checkFlag, config.CheckInterval = "--ipvs-sync-period", s.IPVS.SyncPeriod.Duration
	}
	var err error
	switch {
	case !slices.Contains(proxy.Modes(), config.Mode):
		return config, fmt.Errorf("--proxy-mode (mode): there is no %q: choose one of %v", s.Mode, proxy.Modes())
	case bit < 0 || bit > 31:
		return config, fmt.Errorf("--iptables-masquerade-bit (masqueradeBit): %d is not one of 0 to 31", bit)
	case config.Mode == proxy.IPVS && !slices.Contains(ipvs.Schedulers(), s.IPVS.Scheduler):
		return config, fmt.Errorf("--ipvs-scheduler (ipvs.scheduler): there is no %q: choose one of %v", s.IPVS.Scheduler, ipvs.Schedulers())
	case config.Conntrack.MaxPerCore < 0:
		return config, fmt.Errorf("--conntrack-max-per-core (conntrack.maxPerCore): %d is less than nothing", config.Conntrack.MaxPerCore)
	case config.Conntrack.Min < 0:
		return config, fmt.Errorf("--conntrack-min (conntrack.min): %d is less than nothing", config.Conntrack.Min)
	case config.Conntrack.TCPEstablished < 0:
		return config, fmt.Errorf("--conntrack-tcp-timeout-established (conntrack.tcpEstablishedTimeout): %v is less than nothing", config.Conntrack.TCPEstablished)
	case config.Conntrack.TCPCloseWait < 0:
		return config, fmt.Errorf("--conntrack-tcp-timeout-close-wait (conntrack.tcpCloseWaitTimeout): %v is less than nothing", config.Conntrack.TCPCloseWait)
	case config.Conntrack.UDP < 0:
		return config, fmt.Errorf("--conntrack-udp-timeout (conntrack.udpTimeout): %v is less than nothing", config.Conntrack.UDP)
	case config.Conntrack.UDPStream < 0:
		return config, fmt.Errorf("--conntrack-udp-timeout-stream (conntrack.udpStreamTimeout): %v is less than nothing", config.Conntrack.UDPStream)
	case config.CheckInterval < 0:
		return config, fmt.Errorf("%s (syncPeriod): %v is less than nothing", checkFlag, config.CheckInterval)
	case s.DetectLocalMode != "" && s.DetectLocalMode != "ClusterCIDR":
		return config, fmt.Errorf("--detect-local-mode (detectLocalMode): %q is not served: leave it out and give --cluster-cidr", s.DetectLocalMode)
	}
	if err = proxy.ValidateNodePortAddresses(s.NodePortAddresses); err != nil {
		return config, fmt.Errorf("--nodeport-addresses (nodePortAddresses): %w", err)
	}
	if config.ClusterCIDRs, err = clusterCIDRs(s.ClusterCIDR); err != nil {
		return config, err
	}
	if config.HealthzBindAddress, err = bindAddress("--healthz-bind-address (healthzBindAddress)", s.HealthzBindAddress, proxy.HealthzPort); err != nil {
		return config, err
	}
	if config.MetricsBindAddress, err = bindAddress("--metrics-bind-address (metricsBindAddress)", s.MetricsBindAddress, proxy.MetricsPort); err != nil {
		return config, err
	}
	if s.BindAddress != "" {
		address, err := netip.ParseAddr(s.BindAddress)
		if err != nil {
			return config, fmt.Errorf("--bind-address (bindAddress): %q is no address, as 192.168.1.2", s.BindAddress)
		}
		if !address.IsUnspecified() {
			config.NodeIPs = []netip.Addr{address}
		}
	}
	return config, nil
}

// clusterCIDRs parses one network a family, with a comma between.
func clusterCIDRs(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	var networks []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		network, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("--cluster-cidr (clusterCIDR): %q is no network, as 10.244.0.0/16", part)
		}
		networks = append(networks, network.Masked())
	}
	if len(networks) > 2 || len(networks) == 2 && networks[0].Addr().Is4() == networks[1].Addr().Is4() {
		return nil, fmt.Errorf("--cluster-cidr (clusterCIDR): %q has two networks of a family: give one of IPv4, one of IPv6, or both", text)
	}
	return networks, nil
}

// bindAddress parses an address with or without a port; the zero AddrPort for an empty text.
func bindAddress(flag, text string, port uint16) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(address, port), nil
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		return address, fmt.Errorf("%s: %q is no address and port, as 127.0.0.1:%d", flag, text, port)
	}
	return address, nil
}

// unservedSettings names those settings of a file that are set and do nothing here.
func unservedSettings(s v1alpha1.KubeProxyConfiguration) []string {
	var names []string
	for name, set := range map[string]bool{
		"featureGates":        len(s.FeatureGates) > 0,
		"bindAddressHardFail": s.BindAddressHardFail,
		"enableProfiling":     s.EnableProfiling,
		"ipvs.excludeCIDRs":   len(s.IPVS.ExcludeCIDRs) > 0,
		"ipvs.tcpTimeout":     s.IPVS.TCPTimeout.Duration != 0,
		"ipvs.tcpFinTimeout":  s.IPVS.TCPFinTimeout.Duration != 0,
		"ipvs.udpTimeout":     s.IPVS.UDPTimeout.Duration != 0,
		"detectLocal":         s.DetectLocal != v1alpha1.DetectLocalConfiguration{},
		"nodePortAddresses of localhost": slices.ContainsFunc(s.NodePortAddresses, isLocalhost) &&
			(proxy.Mode(s.Mode) != proxy.IPTables || !*s.IPTables.LocalhostNodePorts),
		"oomScoreAdj":            *s.OOMScoreAdj != defaultOOMScoreAdj,
		"portRange":              s.PortRange != "",
		"winkernel":              s.Winkernel != v1alpha1.KubeProxyWinkernelConfiguration{},
		"logging.verbosity":      s.Logging.Verbosity != 0,
		"logging.format":         s.Logging.Format != "" && s.Logging.Format != "text",
		"clientConnection.qps":   s.ClientConnection.QPS != 0,
		"clientConnection.burst": s.ClientConnection.Burst != 0,
	} {
		if set {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isLocalhost says whether a node-port address is one of this machine only.
func isLocalhost(text string) bool {
	network, err := netip.ParsePrefix(text)
	return text == "localhost" || err == nil && network.Addr().IsLoopback()
}
