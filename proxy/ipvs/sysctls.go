package ipvs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// sysctl is a setting of the calling thread's network namespace.
type sysctl struct{ name, value string }

// setSysctls sets what kube-proxy sets. conn_reuse_mode keeps its default, which is right since Linux 5.9.
func setSysctls(family corev1.IPFamily, strictARP bool) error {
	all := []sysctl{
		{"net/ipv4/vs/conntrack", "1"},                 // or what IPVS translated could not be masqueraded
		{"net/ipv4/vs/expire_nodest_conn", "1"},        // a client whose destination was deleted gets another at once
		{"net/ipv4/vs/expire_quiescent_template", "1"}, // session affinity does not lead to a destination of weight 0
	}
	if family != corev1.IPv6Protocol {
		all = append(all, sysctl{"net/ipv4/ip_forward", "1"})
		if strictARP {
			all = append(all, sysctl{"net/ipv4/conf/all/arp_ignore", "1"}, sysctl{"net/ipv4/conf/all/arp_announce", "2"})
		}
	}
	for _, one := range all {
		if err := one.set(); err != nil {
			return fmt.Errorf("set sysctl %s=%s: %w", one.name, one.value, err)
		}
	}
	return nil
}

// set writes only what has another value: where /proc/sys is read-only, a right value is as good.
func (s sysctl) set() error {
	path := filepath.Join("/proc/sys", s.name)
	current, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return missingModule("ip_vs")
	}
	if err != nil {
		return err
	}
	if string(bytes.TrimSpace(current)) == s.value {
		return nil
	}
	return os.WriteFile(path, []byte(s.value), 0o644)
}
