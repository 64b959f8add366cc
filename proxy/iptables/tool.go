package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// tool is one installed iptables: its programs' names begin with prefix and end in -save and -restore.
type tool struct {
	prefix string
	// nft says that it programs nf_tables, and not the kernel's older x_tables, which `iptables-legacy` does.
	nft bool
}

// installed is the iptables that the machine's administrator chose: what `iptables` or `ip6tables` leads to.
func installed(family corev1.IPFamily) (tool, error) { return newTool(prefixOf(family)) }

func prefixOf(family corev1.IPFamily) string {
	if family == corev1.IPv6Protocol {
		return "ip6tables"
	}
	return "iptables"
}

// tools are all variants of iptables that are installed for the family; none if there is none.
func tools(family corev1.IPFamily) ([]tool, error) {
	var found []tool
	for _, suffix := range []string{"-nft", "-legacy", ""} {
		prefix := prefixOf(family) + suffix
		if _, err := exec.LookPath(prefix + "-restore"); err != nil {
			continue
		}
		t, err := newTool(prefix)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(other tool) bool { return other.nft == t.nft }) {
			found = append(found, t)
		}
	}
	return found, nil
}

// lockSeconds is how long x_tables' lock is waited for. It is one for all network namespaces of a machine, and each change among
// many Services holds it for about a second. nf_tables needs none.
const lockSeconds = "60"

// newTool finds out which kind of iptables the programs with this prefix are.
func newTool(prefix string) (tool, error) {
	var output bytes.Buffer
	if err := run(exec.Command(prefix+"-restore", "--version"), nil, &output); err != nil {
		return tool{}, err
	}
	return tool{prefix: prefix, nft: strings.Contains(output.String(), "nf_tables")}, nil
}

func (t tool) ipv6() bool { return strings.HasPrefix(t.prefix, "ip6") }

// restore feeds text to iptables-restore in the calling thread's network namespace. Rules of other programs stay. It does
// not begin when ctx is done; what has begun is left to finish, since it would be done in some tables and not in others.
//
// The rules are in force when the kernel has taken the transaction. Where rules were deleted, the process ends only about 10 ms later:
// closing its netlink socket waits until no packet can still be looking at the old ones.
func (t tool) restore(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	own, err := ownCommits()
	if err != nil {
		return err
	}
	cmd := t.withLargePages(exec.Command(t.prefix+"-restore", "--noflush", "--wait", lockSeconds))
	if err := run(cmd, strings.NewReader(text), nil); err != nil {
		return err
	}
	if t.nft {
		own.Add(uint32(strings.Count(text, "COMMIT\n"))) // each table raises the generation by one
	}
	return nil
}

// save reads all tables in the calling thread's network namespace.
func (t tool) save(ctx context.Context, wanted func(chain) bool) (*snapshot, error) {
	cmd := t.withLargePages(exec.CommandContext(ctx, t.prefix+"-save"))
	reader, writer := io.Pipe()
	var parsed *snapshot
	failed := make(chan error, 1)
	go func() {
		var err error
		parsed, err = parseSave(reader, wanted)
		reader.CloseWithError(err) // so that iptables-save does not wait for ever for somebody to read on
		failed <- err
	}()
	err := run(cmd, nil, writer)
	writer.Close()
	if err := errors.Join(<-failed, err); err != nil {
		return nil, err
	}
	return parsed, nil
}

// largePages makes glibc ask for large pages: iptables-legacy holds the whole table, and the kernel copies it to and fro. At 10,000
// Services a change takes 0.5 to 0.75 s of processor time instead of 0.75 to 1.1 s, depending on what else the machine does; in a
// virtual machine that has to get the large pages from its host first, the first ones save nothing. iptables-nft needs little memory.
const largePages = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"

func (t tool) withLargePages(cmd *exec.Cmd) *exec.Cmd {
	if !t.nft {
		cmd.Env = append(cmd.Environ(), largePages)
	}
	return cmd
}

func run(cmd *exec.Cmd, input io.Reader, output io.Writer) error {
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, output, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the proxy, and not for what it has begun
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("run %s: %w; install the package iptables", cmd.Args[0], err)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
