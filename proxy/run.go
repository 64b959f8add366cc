package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/proxy/conntrack"
	"github.com/kubelite/kubelite/proxy/health"
	"github.com/kubelite/kubelite/proxy/iptables"
	"github.com/kubelite/kubelite/proxy/metrics"
	"github.com/kubelite/kubelite/proxy/plan"
)

// Run proxies until ctx is done, and then returns nil and leaves all rules in place, as it does after an error. It returns one only when
// it cannot begin, for lack of iptables or the right to use it, and when the node's addresses have changed: all that it made when it began
// depends on them. An API server that is away is waited for.
func Run(ctx context.Context, config Config) error {
	if config.RestConfig == nil {
		return errors.New("run service proxy: RestConfig is needed")
	}
	restConfig := rest.CopyConfig(config.RestConfig)
	restConfig.ContentType = "application/vnd.kubernetes.protobuf"
	restConfig.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("run service proxy: %w", err)
	}
	return serve(ctx, client, config)
}

// serve is Run with a client.
func serve(ctx context.Context, client kubernetes.Interface, config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return fmt.Errorf("run service proxy: %w", err)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	families := config.families()
	p := &proxy{config: config, client: client, metrics: metrics.New(string(config.Mode), families...), health: health.NewProxy(), families: families, end: end}
	p.health.Answered = p.metrics.HealthAnswered
	go listenAndServe(ctx, config.NetNS, config.HealthzBindAddress, p.health)
	go listenAndServe(ctx, config.NetNS, config.MetricsBindAddress, p.metrics.Handler(string(config.Mode)))
	p.objects = newObjects(plan.Node{Name: config.NodeName}, p.changing)
	if !wait(ctx, watch(ctx, client, config.NodeName, p.objects, p.setNode)) {
		return changedIPs(ctx)
	}
	return errors.Join(netns.Do(config.NetNS, func() error { return p.program(ctx) }), changedIPs(ctx))
}

// proxy is one that runs.
type proxy struct {
	config   Config
	client   kubernetes.Interface
	families []corev1.IPFamily
	objects  *objects
	health   *health.Proxy
	metrics  *metrics.Metrics
	end      context.CancelCauseFunc
}

// changing hears of every change, and of how many objects it is, before it is programmed.
func (p *proxy) changing(of changed, count int) {
	p.health.Queued(p.families...)
	p.metrics.Queued(p.families...)
	switch of {
	case serviceChanged:
		p.metrics.ServicesChanged(count)
	case sliceChanged:
		p.metrics.SlicesChanged(count)
	}
}

// setNode hears how the node's own Node is; nil for none.
func (p *proxy) setNode(node *corev1.Node) {
	p.health.SetNode(node)
	if node == nil {
		return
	}
	p.objects.setZone(node.Labels[corev1.LabelTopologyZone])
	if found := nodeIPs(node); p.config.NodeIPsOfNode && len(found) > 0 && !slices.Equal(found, p.config.NodeIPs) {
		p.end(&changedIPsError{node.Name, p.config.NodeIPs, found})
	}
}

// changedIPsError is why a proxy ends whose node has other addresses than when it began.
type changedIPsError struct {
	node        string
	before, now []netip.Addr
}

func (e *changedIPsError) Error() string {
	return fmt.Sprintf("the addresses of node %s were %v and are %v: start again with these", e.node, e.before, e.now)
}

// changedIPs is the changedIPsError that ended ctx; nil if something else did.
func changedIPs(ctx context.Context) error {
	if changed := new(changedIPsError); errors.As(context.Cause(ctx), &changed) {
		return fmt.Errorf("run service proxy: %w", changed)
	}
	return nil
}

// program programs the calling thread's network namespace until ctx is done.
func (p *proxy) program(ctx context.Context) error {
	if err := p.config.Conntrack.Set(); err != nil {
		slog.Warn("some limits of connection tracking stay as they are", "error", err)
	}
	programmer := &programmer{
		objects: p.objects, metrics: p.metrics,
		cleanups: map[Mode]func(context.Context) error{}, complaints: map[Mode]string{},
	}
	for i, family := range p.families {
		one, err := p.startFamily(ctx, family)
		if err != nil && i == 0 {
			return fmt.Errorf("run service proxy: %w", err)
		}
		if err != nil {
			slog.Warn("Services of this family are not served", "family", family, "error", err)
			continue
		}
		defer one.checks.Close()
		programmer.families = append(programmer.families, one)
	}
	for mode, other := range modes {
		if mode != p.config.Mode && other.cleanup != nil {
			programmer.cleanups[mode] = other.cleanup
		}
	}
	programmer.programmed = func() {
		p.health.Programmed()
		go debug.FreeOSMemory() // ends by itself; what the first lists took to read is many times what is kept of them
	}
	if err := programmer.run(ctx, p.config.CheckInterval); err != nil {
		return fmt.Errorf("run service proxy: %w", err)
	}
	return nil
}

func (p *proxy) startFamily(ctx context.Context, of corev1.IPFamily) (*family, error) {
	options := p.config.options(of)
	if options.LocalhostNodePorts {
		if err := iptables.AllowRouteLocalnet(); err != nil {
			slog.Warn("node ports are not served on 127.0.0.1", "error", err)
			options.LocalhostNodePorts = false
		}
	}
	backend, err := modes[p.config.Mode].start(ctx, p.config, options)
	if err != nil {
		return nil, err
	}
	cleaner := conntrack.NewCleaner(of)
	cleaner.Cleaned = func(took time.Duration, deleted int) { p.metrics.ConntrackReconciled(of, took, deleted) }
	go func() {
		if err := cleaner.Run(ctx, p.config.NetNS); err != nil {
			slog.Error("delete stale conntrack entries", "error", err)
		}
	}()
	checks := &health.Services{
		Network: "tcp4", NetNS: p.config.NetNS, ProxyHealthy: p.health.Healthy, Refused: p.reportRefused,
		Addresses: func() ([]netip.Addr, error) { return listenAddresses(of, options.NodePortAddresses) },
	}
	if of == corev1.IPv6Protocol {
		checks.Network = "tcp6"
	}
	return &family{
		family: of, backend: backend, relays: modes[p.config.Mode].relays, cleaner: cleaner,
		health: p.health, checks: checks, metrics: p.metrics, current: plan.Plan{},
	}, nil
}

// bindRetryInterval is the pause between attempts to listen on an address that is taken.
const bindRetryInterval = 5 * time.Second

// listenAndServe serves in the network namespace until ctx is done; an address that is taken is tried again, and the log says so once. With
// the zero address it does nothing.
func listenAndServe(ctx context.Context, path string, address netip.AddrPort, handler http.Handler) {
	if !address.IsValid() {
		return
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	complaint := ""
	for ctx.Err() == nil {
		listener, err := listen(path, address)
		if err == nil {
			if complaint != "" {
				slog.Info("serving health or metrics, whose address is free now", "address", address)
			}
			err = server.Serve(listener)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		if err.Error() != complaint {
			slog.Error("serve health or metrics; trying again", "address", address, "error", err, "every", bindRetryInterval)
		}
		complaint = err.Error()
		select {
		case <-ctx.Done():
		case <-time.After(bindRetryInterval):
		}
	}
}

// listen listens in the network namespace. Who has an address that is taken is most likely another proxy.
func listen(path string, address netip.AddrPort) (net.Listener, error) {
	listener, err := netns.Listen(path, "tcp", address.String())
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("%w: another proxy (kube-proxy?) seems to run on this node: end it, or both write rules", err)
	}
	return listener, err
}
