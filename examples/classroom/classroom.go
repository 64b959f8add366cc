// Package classroom boots real clusters for the exercises, the tests of faults and the benchmark, and removes them.
//
// It runs bin/kubelite as a user does. Every cluster has a name of its own, two nodes, and no uplink.
package classroom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the repository's folder: the one with go.mod above the working directory.
func Root() (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			return directory, nil
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", errors.New("run it in kubelite's repository")
		}
		directory = parent
	}
}

// Classroom is a cluster, and a terminal's environment on it.
type Classroom struct {
	Name string
	// Root is the repository's folder.
	Root string
	// Environment has kubelite and kubectl in the PATH and leads both to the cluster.
	Environment []string
}

// Binary is the path of the kubelite that is tried.
func (c *Classroom) Binary() string { return filepath.Join(c.Root, "bin", "kubelite") }

// New makes ready for a cluster of the name, and removes one that an earlier run left.
func New(ctx context.Context, name string) (*Classroom, error) {
	directory, err := Root()
	if err != nil {
		return nil, err
	}
	c := &Classroom{Name: name, Root: directory}
	if _, err := os.Stat(c.Binary()); err != nil {
		return nil, fmt.Errorf("build kubelite first, with `make build images`: %w", err)
	}
	if err := c.setEnvironment(); err != nil {
		return nil, err
	}
	return c, c.Stop(ctx, io.Discard)
}

// Start boots a cluster of its own, with two nodes and no uplink.
func Start(ctx context.Context, name string, out io.Writer) (*Classroom, error) {
	c, err := New(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := c.Up(ctx, out); err != nil {
		return nil, errors.Join(err, c.Stop(context.WithoutCancel(ctx), io.Discard))
	}
	return c, nil
}

// Up starts what does not run of the cluster. Its proxy mode is KUBELITE_PROXY_MODE of the environment; without it the default.
func (c *Classroom) Up(ctx context.Context, out io.Writer) error {
	arguments := []string{"up", "--nodes", "2", "--uplink", "off", "--timeout", "10m"} // an emulated machine needs two for the images
	if mode := os.Getenv("KUBELITE_PROXY_MODE"); mode != "" {
		arguments = append(arguments, "--proxy-mode", mode)
	}
	return c.Kubelite(ctx, out, arguments...)
}

// Stop removes the cluster and all of its state.
func (c *Classroom) Stop(ctx context.Context, out io.Writer) error {
	if err := c.Kubelite(ctx, out, "down", "--purge"); err != nil {
		return err
	}
	if err := os.Remove(c.Kubeconfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Kubelite runs a command of the binary, with its output to out. The error has all of it.
func (c *Classroom) Kubelite(ctx context.Context, out io.Writer, arguments ...string) error {
	command := exec.CommandContext(ctx, c.Binary(), arguments...)
	command.Env = c.Environment
	var said strings.Builder
	command.Stdout, command.Stderr = io.MultiWriter(out, &said), io.MultiWriter(out, &said)
	if err := command.Run(); err != nil {
		return fmt.Errorf("kubelite %s: %w\n%s", strings.Join(arguments, " "), err, said.String())
	}
	return nil
}

// Apply applies a manifest with `kubelite apply`.
func (c *Classroom) Apply(ctx context.Context, manifest string) error {
	command := exec.CommandContext(ctx, c.Binary(), "apply", "-f", "-")
	command.Env = c.Environment
	command.Stdin = strings.NewReader(manifest)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubelite apply: %w\n%s", err, output)
	}
	return nil
}

// Kubeconfig is the file that the cluster's context is written to.
func (c *Classroom) Kubeconfig() string { return filepath.Join(c.Root, "bin", c.Name+".kubeconfig") }

// setEnvironment makes the terminal's environment: kubelite in the PATH, and kubectl, which is kubelite itself where the machine
// has no other; a kubeconfig of its own, so that the user's is left alone.
func (c *Classroom) setEnvironment() error {
	if _, err := exec.LookPath("kubectl"); err != nil {
		standIn := filepath.Join(c.Root, "bin", "kubectl")
		if err := os.Symlink("kubelite", standIn); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for _, variable := range os.Environ() {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "PATH", "KUBECONFIG", "KUBELITE_NAME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy":
		default:
			c.Environment = append(c.Environment, variable)
		}
	}
	c.Environment = append(c.Environment,
		"PATH="+filepath.Join(c.Root, "bin")+":"+os.Getenv("PATH"),
		"KUBECONFIG="+c.Kubeconfig(),
		"KUBELITE_NAME="+c.Name)
	return nil
}
