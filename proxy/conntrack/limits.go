package conntrack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Limits are the sysctls of connection tracking that kube-proxy sets. What is zero is left as it is.
type Limits struct {
	// MaxPerCore and Min are how many connections may be tracked: so many a CPU core, but at least Min.
	MaxPerCore, Min int
	// How long a connection is remembered that says nothing.
	TCPEstablished, TCPCloseWait, UDP, UDPStream time.Duration
	// TCPBeLiberal accepts TCP packets outside of the window.
	TCPBeLiberal bool
}

// sysctls is where they are in the calling thread's network namespace.
const sysctls = "/proc/sys/net/netfilter"

// Set sets the limits in the calling thread's network namespace; those that are as wanted are not written. The size of the table is
// the machine's and can be set in its first network namespace only; it is never made smaller.
func (l Limits) Set() error {
	problems := []error{l.setMax()}
	for name, timeout := range map[string]time.Duration{
		"nf_conntrack_tcp_timeout_established": l.TCPEstablished,
		"nf_conntrack_tcp_timeout_close_wait":  l.TCPCloseWait,
		"nf_conntrack_udp_timeout":             l.UDP,
		"nf_conntrack_udp_timeout_stream":      l.UDPStream,
	} {
		if timeout > 0 {
			problems = append(problems, setSysctl(name, int(timeout.Seconds())))
		}
	}
	if l.TCPBeLiberal {
		problems = append(problems, setSysctl("nf_conntrack_tcp_be_liberal", 1))
	}
	return errors.Join(problems...)
}

func (l Limits) setMax() error {
	if l.MaxPerCore == 0 {
		return nil
	}
	wanted := max(l.Min, l.MaxPerCore*runtime.NumCPU())
	current, err := sysctl("nf_conntrack_max")
	if err != nil || current >= wanted {
		return err
	}
	return setSysctl("nf_conntrack_max", wanted)
}

func sysctl(name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(sysctls, name))
	if err != nil {
		return 0, fmt.Errorf("read sysctl %s: %w", name, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func setSysctl(name string, value int) error {
	if current, err := sysctl(name); err != nil || current == value {
		return err
	}
	if err := os.WriteFile(filepath.Join(sysctls, name), []byte(strconv.Itoa(value)), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %d: %w", name, value, err)
	}
	return nil
}
