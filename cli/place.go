package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubelite/kubelite/cli/cluster"
)

// newLaptopCommand is `kubelite laptop`: a shell, or a command, on the machine outside the cluster.
func newLaptopCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:     "laptop [-- COMMAND [ARGUMENT...]]",
		Short:   "Run a shell or a command on the laptop: on the nodes' network, outside the cluster",
		Example: "  sudo kubelite laptop -- curl http://192.168.1.2:30080/",
		RunE: func(_ *cobra.Command, arguments []string) error {
			c, err := cluster.Load(name)
			if err != nil {
				return err
			}
			return become(c.Network.LaptopNetNS(), "laptop", c, arguments)
		},
	}
	addNameFlag(command, &name)
	return command
}

// newNodeCommand is `kubelite node`: commands about one node.
func newNodeCommand(streams genericiooptions.IOStreams) *cobra.Command {
	command := &cobra.Command{
		Use:   "node",
		Short: "Run a command on a node, or make a node's credentials",
		RunE:  needSubcommand,
	}
	command.AddCommand(newNodeExecCommand(), newNodeCredentialsCommand(streams))
	return command
}

// newNodeExecCommand is `kubelite node exec`: what the documents do by ssh.
func newNodeExecCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:     "exec NODE [-- COMMAND [ARGUMENT...]]",
		Short:   "Run a shell or a command in a node's network, as by ssh to it",
		Example: "  sudo kubelite node exec node-1 -- iptables -t nat -L KUBE-SERVICES",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error {
			c, err := cluster.Load(name)
			if err != nil {
				return err
			}
			var names []string
			for _, node := range c.Network.NodeList() {
				if node.Name == arguments[0] {
					return become(node.NetNS, node.Name, c, arguments[1:])
				}
				names = append(names, node.Name)
			}
			return fmt.Errorf("cluster %q has no node %q: it has %s", name, arguments[0], strings.Join(names, ", "))
		},
	}
	addNameFlag(command, &name)
	return command
}

// become replaces this process by the command (a shell if there is none) in the namespace at path, under the place's host
// name. It returns only if that fails.
func become(path, place string, c *cluster.Cluster, arguments []string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root can enter the network of %s: run it with sudo", place)
	}
	if len(arguments) == 0 {
		arguments = []string{shell()}
	}
	program, err := exec.LookPath(arguments[0])
	if err != nil {
		return err
	}
	namespace, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cluster %q is not running: start it with `kubelite up --name %s`", c.Name(), c.Name())
	}
	if err != nil {
		return err
	}
	runtime.LockOSThread() // for good: execve makes this thread the process
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network of %s: %w", place, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWUTS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("take the host name %s: %w", place, err)
	}
	if err := hideResolver(c); err != nil {
		return fmt.Errorf("hide this machine's resolver from %s: %w", place, err)
	}
	if err := unix.Sethostname([]byte(place)); err != nil {
		return fmt.Errorf("take the host name %s: %w", place, err)
	}
	return syscall.Exec(program, arguments, os.Environ())
}

// hideResolver gives the thread's mount namespace an /etc/resolv.conf that names no resolver but one where nobody listens: this
// machine's cannot be reached from the lab, and every look-up, such as those of `iptables -L`, would wait for it.
func hideResolver(c *cluster.Cluster) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file := c.RunDir("resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		return err
	}
	return unix.Mount(file, target, "", unix.MS_BIND, "")
}

func shell() string {
	if shell := os.Getenv("SHELL"); shell != "" {
		return shell
	}
	return "/bin/sh"
}

// newNodeCredentialsCommand is `kubelite node credentials`: what an agent needs that is started by hand.
func newNodeCredentialsCommand(streams genericiooptions.IOStreams) *cobra.Command {
	var dataDir, server, directory string
	var ip netip.Addr
	command := &cobra.Command{
		Use:   "credentials NODE --ip ADDRESS --output DIRECTORY",
		Short: "Make the kubeconfig and the certificates that a node's agent needs",
		Long: `Make the kubeconfig and the certificates that a node's agent needs, for "kubelite agent" started by hand.

They are signed by the certificate authority of a "kubelite server", found in its data directory.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error {
			if !ip.IsValid() || directory == "" {
				return errors.New("--ip and --output are needed")
			}
			if err := cluster.WriteNodeCredentials(dataDir, arguments[0], ip, server, directory); err != nil {
				return err
			}
			_, err := fmt.Fprintf(streams.Out, "Start the agent on %s with:\n  kubelite agent --node-name %s --node-ip %s --kubeconfig %[4]s/kubeconfig --tls-cert-file %[4]s/agent.crt --tls-private-key-file %[4]s/agent.key --client-ca-file %[4]s/ca.crt\n",
				arguments[0], arguments[0], ip, directory)
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&dataDir, "data-dir", serverDataDir, "the server's data directory")
	flags.StringVar(&server, "server", "https://127.0.0.1:6443", "the API server's URL, as the node reaches it")
	flags.StringVar(&directory, "output", "", "directory to write to")
	addressFlag(flags, &ip, "ip", "the node's address, for its certificate")
	return command
}

// serverDataDir is where a `kubelite server` that is started by hand keeps its state.
const serverDataDir = "/var/lib/kubelite/kubelite/server"
