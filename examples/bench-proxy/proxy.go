package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
)

const metricsAddress = "127.0.0.1:10249"

// variant is a proxy mode with the programs that it runs.
type variant struct {
	name string
	mode string
	// multi is the program behind the iptables that the mode runs, whichever the machine's own is; empty if it runs none.
	multi string
}

const (
	nftMulti    = "xtables-nft-multi"
	legacyMulti = "xtables-legacy-multi" // which programs x_tables
)

var variants = []variant{
	{"iptables-nft", "iptables", nftMulti},
	{"iptables-legacy", "iptables", legacyMulti},
	{"nftables", "nftables", ""},
	{"ipvs", "ipvs", nftMulti},
	{"userspace", "userspace", nftMulti},
}

// proxy is a `kubelite service-proxy` in a node.
type proxy struct {
	node    *node
	cmd     *exec.Cmd
	ended   chan error
	log     string
	started time.Time
	scraper http.Client
}

// startProxy starts one and returns at once.
func (b *bench) startProxy(ctx context.Context, n *node, v variant) (*proxy, error) {
	p := &proxy{node: n, ended: make(chan error, 1), log: filepath.Join(b.directory, n.name+"-"+v.name+".log")}
	p.scraper.Transport = &http.Transport{DialContext: netns.Dialer(n.path)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, b.options.kubelite, "service-proxy", "--kubeconfig", b.kubeconfig(), "--hostname-override", n.name,
		"--proxy-mode", v.mode, "--cluster-cidr", podNetwork, "--metrics-bind-address", metricsAddress, "--healthz-bind-address", "127.0.0.1:10256")
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = log, log, os.Environ()
	if v.multi != "" {
		p.cmd.Env = append(p.cmd.Env, "PATH="+b.iptables(v.multi)+":"+os.Getenv("PATH"))
	}
	p.started = time.Now()
	if err := netns.Start(n.path, p.cmd); err != nil {
		return nil, fmt.Errorf("start service-proxy: %w", err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p, nil
}

// stop ends the process. Its rules stay, and go with the node's namespace.
func (p *proxy) stop() error {
	p.scraper.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(errors.New("service-proxy does not end"), p.cmd.Process.Kill())
	}
}

// iptables is a folder whose iptables is that program.
func (b *bench) iptables(multi string) string { return filepath.Join(b.directory, multi) }

func (b *bench) linkIPTables() error {
	for _, multi := range []string{nftMulti, legacyMulti} {
		folder := b.iptables(multi)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
			if err := os.Symlink("/usr/sbin/"+multi, filepath.Join(folder, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// histogram is what of a Prometheus histogram is exact.
type histogram struct {
	count float64
	sum   float64 // seconds
}

func (h histogram) minus(before histogram) histogram {
	return histogram{h.count - before.count, h.sum - before.sum}
}

const (
	syncDuration       = "kubeproxy_sync_proxy_rules_duration_seconds"
	networkProgramming = "kubeproxy_network_programming_duration_seconds"
)

// histogram reads one of the proxy's metrics; all its label sets together.
func (p *proxy) histogram(ctx context.Context, name string) (h histogram, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metricsAddress+"/metrics", nil)
	if err != nil {
		return h, err
	}
	response, err := p.scraper.Do(request)
	if err != nil {
		return h, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return h, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		series, text, _ := strings.Cut(lines.Text(), " ")
		series, _, _ = strings.Cut(series, "{")
		value, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
		case series == name+"_count":
			h.count += value
		case series == name+"_sum":
			h.sum += value
		}
	}
	return h, nil
}

// syncedSince waits until the proxy has synced more often than before, and returns what came since.
func (p *proxy) syncedSince(ctx context.Context, before histogram) (histogram, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		now, err := p.histogram(ctx, syncDuration)
		if err == nil && now.count > before.count {
			return now.minus(before), nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return histogram{}, fmt.Errorf("service-proxy ended (%v): %s", ended, p.lastLines())
		case <-ctx.Done():
			return histogram{}, fmt.Errorf("wait for service-proxy to sync: %w: %s", errors.Join(ctx.Err(), err), p.lastLines())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (p *proxy) lastLines() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-1000):])
}

// memory is the process's PSS in bytes.
func (p *proxy) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("smaps_rollup does not tell PSS")
}

// cpu is the processor time of the process and of those that it ran and that ended, since its start.
func (p *proxy) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from field 3, "state", on
	const utime, cstime = 14 - 3, 17 - 3
	if len(fields) <= cstime {
		return 0, fmt.Errorf("read processor time: %q", text)
	}
	ticks := int64(0)
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100
}

// firstSeen waits until the node's client gets an answer through the Service, and returns the time since the process was
// started.
func (p *proxy) firstSeen(ctx context.Context, service netip.AddrPort) (time.Duration, error) {
	at := time.Time{}
	err := netns.Do(p.node.client, func() (err error) {
		at, err = probe(func() (time.Time, bool) { return open(service) }).until(ctx)
		return err
	})
	return at.Sub(p.started), err
}
