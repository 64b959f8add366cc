package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	basecli "k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/kubelite/kubelite/cli/cluster"
)

// runWithVerbs executes kubelite's own commands and kubectl's verbs as one tree.
func runWithVerbs(arguments []string, in io.Reader, out, errOut io.Writer) int {
	streams := genericiooptions.IOStreams{In: in, Out: out, ErrOut: errOut}
	root := newRoot(streams, arguments)
	if own, _, err := root.Find(arguments[1:]); err == nil && isOwn(own) {
		return run(root, arguments[1:], errOut)
	}
	root.SetArgs(arguments[1:])
	if err := basecli.RunNoErrOutput(root); err != nil {
		cmdutil.CheckErr(err) // kubectl's way of printing errors; it ends the process
	}
	return 0
}

// newRoot is the whole command tree.
func newRoot(streams genericiooptions.IOStreams, arguments []string) *cobra.Command {
	root := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		PluginHandler: cmd.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     pluginArguments(arguments),
		ConfigFlags:   configFlags(),
		IOStreams:     streams,
	})
	root.Use = "kubelite"
	root.Short = "kubelite runs a whole small Kubernetes on one machine"
	root.Long = templates.LongDesc(`
		kubelite runs a whole small Kubernetes on one Linux machine, so that you can see how Services work.

		Make a cluster with "kubelite up". Every kubectl verb below works on it, and so does kubectl itself.`)
	root.SilenceErrors, root.SilenceUsage = true, true

	groups := templates.CommandGroups{
		{Message: "The cluster:", Commands: []*cobra.Command{
			newUpCommand(streams), newDownCommand(streams), newStatusCommand(streams), newKubeconfigCommand(streams),
			newImageCommand(streams),
		}},
		{Message: "Places in the lab:", Commands: []*cobra.Command{newLaptopCommand(), newNodeCommand(streams)}},
		{Message: "The cluster's processes, run alone:", Commands: []*cobra.Command{
			newServerCommand(), newAgentCommand(), newServiceProxyCommand(), newDNSCommand(),
		}},
	}
	var own []*cobra.Command
	for _, group := range groups {
		for _, command := range group.Commands {
			markOwn(command)
			own = append(own, command)
		}
	}
	speakForBoth(root, streams)
	// What is no verb is left for the group "Other Commands:", as kubectl has it.
	verbs := slices.DeleteFunc(slices.Clone(root.Commands()), func(command *cobra.Command) bool {
		return slices.Contains([]string{"api-resources", "api-versions", "config", "kuberc", "options", "plugin", "version"}, command.Name())
	})
	groups = append(groups, templates.CommandGroup{Message: "kubectl's verbs:", Commands: verbs})
	root.AddCommand(own...)
	templates.ActsAsRootCommand(root, []string{"options"}, groups...)
	return root
}

// pluginArguments are the arguments that kubectl looks for plugins with: none for kubelite's own commands, which it does not
// know at that moment.
func pluginArguments(arguments []string) []string {
	for _, argument := range arguments[1:] {
		if !strings.HasPrefix(argument, "-") {
			if ownNames[argument] {
				return nil
			}
			break
		}
	}
	return arguments
}

// ownNames are kubelite's own top-level commands.
var ownNames = map[string]bool{
	"up": true, "down": true, "status": true, "kubeconfig": true, "image": true, "laptop": true, "node": true,
	"server": true, "agent": true, "service-proxy": true, "dns": true,
}

const ownAnnotation = "kubelite.dev/own"

// markOwn marks the command and those below it as kubelite's own.
func markOwn(command *cobra.Command) {
	if command.Annotations == nil {
		command.Annotations = map[string]string{}
	}
	command.Annotations[ownAnnotation] = "true"
	for _, child := range command.Commands() {
		markOwn(child)
	}
}

func isOwn(command *cobra.Command) bool { return command.Annotations[ownAnnotation] != "" }

// configFlags are kubectl's connection flags. Where none says more they lead to the cluster that $KUBELITE_NAME names, else where
// $KUBECONFIG leads, else to this machine's cluster: by its own kubeconfig for root, by the context that `up` wrote for everybody
// else.
func configFlags() *genericclioptions.ConfigFlags {
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50.0)
	defaults, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	elsewhere := err != nil || defaults.CurrentContext != "" // it leads there, or the verb tells what is wrong with it
	if elsewhere && os.Getenv("KUBECONFIG") != "" && os.Getenv("KUBELITE_NAME") == "" {
		return flags
	}
	name := defaultName()
	c, err := cluster.Load(name)
	if err != nil {
		if !elsewhere {
			flags = flags.WithWrapConfigFn(sayInsteadOfDialling(err))
		}
		return flags
	}
	if file, err := os.Open(c.Kubeconfig()); err == nil {
		file.Close()
		path := c.Kubeconfig()
		flags.KubeConfig = &path
		return flags
	}
	contextName := cluster.ContextName(name)
	if !elsewhere && defaults.Contexts[contextName] == nil {
		return flags.WithWrapConfigFn(sayInsteadOfDialling(
			fmt.Errorf("your kubeconfig has no context %q: `sudo kubelite up --name %s` writes it", contextName, name)))
	}
	flags.Context = &contextName
	return flags
}

// sayInsteadOfDialling makes requests fail with the reason why there is no cluster, where kubectl would try a server on its
// default port: what a flag names is tried as ever.
func sayInsteadOfDialling(reason error) func(*rest.Config) *rest.Config {
	utilruntime.ErrorHandlers = nil // the discovery cache would log five times what the command says at its end
	return func(config *rest.Config) *rest.Config {
		if config.Host == defaultHost {
			config.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, reason }
		}
		return config
	}
}

// defaultHost is the server that kubectl tries when nothing names one.
const defaultHost = "http://localhost:8080"
