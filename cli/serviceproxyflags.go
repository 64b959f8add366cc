package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/kubelite/kubelite/internal/version"
	"github.com/kubelite/kubelite/proxy"
)

// addUnservedFlags makes flags of those that kube-proxy has and that do nothing here, so that its command line works as it is. What they
// say is kept in o's settings, if these have a place for it: unservedSettings names it. It takes any text for the others.
func (o *serviceProxyOptions) addUnservedFlags(flags *pflag.FlagSet) {
	const unserved = "taken, but without effect: "
	s := &o.settings
	flags.Var(cliflag.NewMapStringBool(&s.FeatureGates), "feature-gates", unserved+"there are none")
	flags.BoolVar(&s.BindAddressHardFail, "bind-address-hard-fail", s.BindAddressHardFail, unserved+"a port that is taken is tried again")
	flags.BoolVar(&s.EnableProfiling, "profiling", s.EnableProfiling, unserved+"there is no /debug/pprof")
	flags.StringVar(&s.ShowHiddenMetricsForVersion, "show-hidden-metrics-for-version", s.ShowHiddenMetricsForVersion, unserved+"no metric is hidden")
	flags.Int32Var(s.OOMScoreAdj, "oom-score-adj", *s.OOMScoreAdj, unserved+"whoever starts the process sets it")
	flags.StringVar(&s.ClientConnection.ContentType, "kube-api-content-type", s.ClientConnection.ContentType, unserved+"it is protobuf")
	flags.Int32Var(&s.ClientConnection.Burst, "kube-api-burst", s.ClientConnection.Burst, unserved+"three watches need no limit")
	flags.Float32Var(&s.ClientConnection.QPS, "kube-api-qps", s.ClientConnection.QPS, unserved+"three watches need no limit")
	flags.StringSliceVar(&s.IPVS.ExcludeCIDRs, "ipvs-exclude-cidrs", s.IPVS.ExcludeCIDRs, unserved+"all virtual servers are the proxy's, and others are removed")
	for name, timeout := range map[string]*time.Duration{"tcp": &s.IPVS.TCPTimeout.Duration, "tcpfin": &s.IPVS.TCPFinTimeout.Duration, "udp": &s.IPVS.UDPTimeout.Duration} {
		flags.DurationVar(timeout, "ipvs-"+name+"-timeout", *timeout, unserved+"the kernel's is left as it is")
	}
	flags.StringVar(&s.DetectLocal.BridgeInterface, "pod-bridge-interface", s.DetectLocal.BridgeInterface, unserved+"give --cluster-cidr")
	flags.StringVar(&s.DetectLocal.InterfaceNamePrefix, "pod-interface-name-prefix", s.DetectLocal.InterfaceNamePrefix, unserved+"give --cluster-cidr")
	flags.StringVar(&s.Logging.Format, "logging-format", s.Logging.Format, unserved+"it is text")
	for name, instead := range unservedTexts {
		flags.String(name, "", unserved+instead)
	}
	for _, name := range []string{"log-text-split-stream", "log-json-split-stream"} {
		flags.Bool(name, false, unserved+"all goes to standard error")
	}
}

// unservedTexts are those flags of kube-proxy that do nothing here and are no settings of its file.
var unservedTexts = map[string]string{
	"healthz-port":              "give --healthz-bind-address",
	"metrics-port":              "give --metrics-bind-address",
	"vmodule":                   "give --v",
	"log-flush-frequency":       "each line is written at once",
	"log-text-info-buffer-size": "each line is written at once",
	"log-json-info-buffer-size": "each line is written at once",
	"boot-id-file":              "it is not read",
	"machine-id-file":           "it is not read",
}

// writeTo writes the settings that the flags and the file lead to as a KubeProxyConfiguration that --config reads.
func (o serviceProxyOptions) writeTo(path string, flags *pflag.FlagSet) error {
	settings, err := o.read(flags)
	if err != nil {
		return err
	}
	if _, err := proxyConfig(settings); err != nil {
		return err
	}
	if proxy.Mode(settings.Mode) == proxy.NFTables { // read takes them from there
		settings.NFTables.MasqueradeBit, settings.NFTables.MasqueradeAll = settings.IPTables.MasqueradeBit, settings.IPTables.MasqueradeAll
		settings.NFTables.SyncPeriod = settings.IPTables.SyncPeriod
	}
	settings.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "KubeProxyConfiguration"}
	text, err := yaml.Marshal(settings)
	if err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("--write-config-to: %w", err)
	}
	return nil
}

// speakAsKubeProxy gives the command --version, and a hint with what is wrong with a flag.
func speakAsKubeProxy(command *cobra.Command) {
	command.Version = version.Kubelite
	command.SetVersionTemplate(fmt.Sprintf("kubelite v%s (Kubernetes %s)\n", version.Kubelite, version.Kubernetes))
	command.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return fmt.Errorf("%w: see `%s --help`", err, command.CommandPath())
	})
}
