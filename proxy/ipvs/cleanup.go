package ipvs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netfilter"
	"github.com/kubelite/kubelite/proxy/backend"
)

// Cleanup removes the mode's rules, sets, virtual servers and kube-ipvs0, of both families, from the calling thread's network
// namespace. Without kube-ipvs0 virtual servers are somebody else's and stay. Sysctls stay as they are.
func Cleanup(ctx context.Context) error {
	var all []error
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		if err := deleteRules(ctx, family); err != nil {
			all = append(all, err)
			continue // the sets are in use
		}
		all = append(all, deleteSets(family))
	}
	all = append(all, deleteLink())
	return errors.Join(all...)
}

// deleteRules deletes the jumps first, then all chains at once.
func deleteRules(ctx context.Context, family corev1.IPFamily) error {
	there, err := mayHaveRules(family)
	saved := ""
	if err == nil && there {
		saved, err = iptables(ctx, family, "", "save")
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete the rules of mode ipvs: %w", err)
	}
	text := deletionText(saved)
	if text == "" {
		return nil
	}
	if _, err := iptables(ctx, family, text, "restore", "--noflush", "--wait", "5"); err != nil {
		return fmt.Errorf("delete the rules of mode ipvs: %w", err)
	}
	return nil
}

// mayHaveRules is false where a look at the mode's chains, without which no rule can lead to them, finds none. That is worth a look of its
// own: all rules of another mode may take seconds to read.
func mayHaveRules(family corev1.IPFamily) (bool, error) {
	if nft, err := usesNFTables(); err != nil || !nft {
		return true, err
	}
	var wanted []netfilter.Chain
	for _, c := range chains(backend.Options{}) {
		wanted = append(wanted, netfilter.Chain{Table: c.table, Name: c.name})
	}
	return netfilter.HasAny(family, wanted)
}

// deletionText is the input of iptables-restore --noflush that deletes what saved has of the mode; empty if there is none.
func deletionText(saved string) string {
	var text strings.Builder
	for _, table := range []string{"filter", "mangle", "nat"} {
		present := tableOf(saved, table)
		var declarations, deletions []string
		for _, c := range chains(backend.Options{}) {
			if c.table == table && slices.ContainsFunc(present, func(line string) bool { return strings.HasPrefix(line, ":"+c.name+" ") }) {
				declarations = append(declarations, ":"+c.name+" - [0:0]\n")
				deletions = append(deletions, "-X "+c.name+"\n")
			}
		}
		var ends []string
		for _, j := range jumps {
			for _, line := range present {
				if j.table == table && strings.HasPrefix(line, "-A "+j.from+" ") && strings.HasSuffix(line, "-j "+j.target()) {
					ends = append(ends, "-D"+strings.TrimPrefix(line, "-A")+"\n")
				}
			}
		}
		if len(declarations)+len(ends) > 0 {
			text.WriteString("*" + table + "\n" + strings.Join(declarations, "") + strings.Join(ends, "") + strings.Join(deletions, "") + "COMMIT\n")
		}
	}
	return text.String()
}

// tableOf are the lines of one table in what iptables-save prints.
func tableOf(saved, table string) []string {
	var lines []string
	current := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSuffix(line, "\n")
		if name, isTable := strings.CutPrefix(line, "*"); isTable {
			current = name
		} else if current == table {
			lines = append(lines, line)
		}
	}
	return lines
}

func deleteSets(family corev1.IPFamily) error {
	var all []error
	for _, s := range allSets {
		err := netlink.IpsetDestroy(s.nameFor(family))
		// A kernel without sets has none of these.
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
			all = append(all, fmt.Errorf("delete set %s: %w", s.nameFor(family), err))
		}
	}
	return errors.Join(all...)
}

// deleteLink deletes kube-ipvs0 last: as long as it is there, virtual servers may be left.
func deleteLink() error {
	link, err := netlink.LinkByName(linkName)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", linkName, err)
	}
	if err := deleteAllServers(); err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("delete link %s: %w", linkName, err)
	}
	return nil
}

func deleteAllServers() error {
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		return nil // without the module there are none
	}
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		k, err := openKernel(backend.Options{Family: family})
		if err != nil {
			return err
		}
		defer k.close()
		all, err := k.servers()
		if err != nil {
			return err
		}
		for s := range all {
			if err := k.deleteServer(s); err != nil {
				return err
			}
		}
	}
	return nil
}
