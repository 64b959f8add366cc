package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/cmd"
)

// TestNoVerbIsTaken compares kubelite's own commands with the verbs that kubectl itself has.
func TestNoVerbIsTaken(t *testing.T) {
	verbs := map[string]string{} // by name and alias
	for _, verb := range cmd.NewKubectlCommand(cmd.KubectlOptions{IOStreams: genericiooptions.NewTestIOStreamsDiscard()}).Commands() {
		for _, name := range append(verb.Aliases, verb.Name()) {
			verbs[name] = verb.Name()
		}
	}
	if len(verbs) < 40 || verbs["get"] == "" || verbs["port-forward"] == "" {
		t.Fatalf("these are not kubectl's verbs: %v", verbs)
	}
	root := newRoot(genericiooptions.NewTestIOStreamsDiscard(), []string{"kubelite"})
	found := map[string]bool{}
	for _, command := range root.Commands() {
		if !isOwn(command) {
			continue
		}
		found[command.Name()] = true
		for _, name := range append(command.Aliases, command.Name()) {
			if verb, taken := verbs[name]; taken {
				t.Errorf("kubelite %s takes the name of kubectl's verb %q", command.Name(), verb)
			}
		}
		if !ownNames[command.Name()] {
			t.Errorf("%q is not among ownNames: a kubectl plugin of that name would run instead", command.Name())
		}
	}
	for name := range ownNames {
		if !found[name] {
			t.Errorf("ownNames has %q, which is no command", name)
		}
	}
	for _, verb := range verbs {
		if command, _, err := root.Find([]string{verb}); err != nil || command.Name() != verb || isOwn(command) {
			t.Errorf("kubelite %s is not kubectl's: %v", verb, err)
		}
	}
}

// TestOwnCommandsAreDocumented walks all commands of kubelite's own.
func TestOwnCommandsAreDocumented(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(command *cobra.Command) {
		if command.Short == "" || strings.HasSuffix(command.Short, ".") {
			t.Errorf("%s: its short description is %q: want one sentence without its full stop", command.CommandPath(), command.Short)
		}
		if !command.Runnable() {
			t.Errorf("%s does nothing, and takes any argument without a word", command.CommandPath())
		}
		for _, child := range command.Commands() {
			walk(child)
		}
	}
	for _, command := range newRoot(genericiooptions.NewTestIOStreamsDiscard(), []string{"kubelite"}).Commands() {
		if isOwn(command) {
			walk(command)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, test := range []struct {
		arguments string
		want      string // what the message contains
	}{
		{"up --nope", "unknown flag: --nope"},
		{"up extra", `unknown command "extra"`},
		{"up --timeout 0s", "--timeout 0s: use a duration above zero"},
		{"up --underlay 1.2.3", `"1.2.3" for "--underlay"`},
		{"up --node-ports 5-1", `"5-1" is not a range of ports`},
		{"up --load-balancers 1.1.1.1", `"1.1.1.1" is not a range of addresses`},
		{"down --name Bad_Name", `"Bad_Name" cannot be a cluster's name`},
		{"down --purge --name images", `"images" cannot be a cluster's name`},
		{"status --name no-such-cluster", "make it with `kubelite up --name no-such-cluster`"},
		{"laptop --name no-such-cluster", "make it with `kubelite up --name no-such-cluster`"},
		{"node bogus", `unknown command "bogus" for "kubelite node"`},
		{"node credentials n", "--ip and --output are needed"},
		{"image bogus", `unknown command "bogus" for "kubelite image"`},
		{"agent", "--kubeconfig, --client-ca-file, --node-name and --node-ip are needed"},
		{"server --advertise-address nowhere", `--advertise-address "nowhere"`},
	} {
		t.Run(test.arguments, func(t *testing.T) {
			var out, errOut bytes.Buffer
			arguments := strings.Fields("kubelite " + test.arguments)
			if slices.Contains(arguments, "server") {
				arguments = append(arguments, "--data-dir", t.TempDir())
			}
			if code := Main(arguments, nil, &out, &errOut); code == 0 {
				t.Error("exit code 0")
			}
			if !strings.Contains(errOut.String(), test.want) {
				t.Errorf("it says\n%swant\n%s", errOut.String(), test.want)
			}
			if out.Len() > 0 {
				t.Errorf("standard output has %q", out.String())
			}
		})
	}
}

// TestAgentKnowsThePodsNetwork: without it the Service proxy would not masquerade what comes from outside the cluster.
func TestAgentKnowsThePodsNetwork(t *testing.T) {
	flag := newAgentCommand().Flags().Lookup("pod-cidr")
	if want := newServerCommand().Flags().Lookup("pod-cidr").DefValue; flag.DefValue != want {
		t.Errorf("--pod-cidr of the agent is %q by default, that of the server %q", flag.DefValue, want)
	}
}
